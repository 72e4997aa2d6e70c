"""Evaluation of frozen encoders: tasks, features, probes, fine-tuning, metrics and baselines."""
