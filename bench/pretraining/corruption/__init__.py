"""Corruption: how positions are sampled, and how a text is edited, mixed and cut into spans."""
