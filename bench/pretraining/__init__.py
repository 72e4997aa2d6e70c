"""Corruption, one encoder, one loop, one ledger: what turns text into a trained encoder."""
