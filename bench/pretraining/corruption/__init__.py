"""Corruption: sampling of positions, and edits, mixtures and spans of text."""
