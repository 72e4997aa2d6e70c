"""Encoders that start from a checkpoint: of transformers, or of an earlier run."""
