"""Demonstrations of an objective: its corruption token by token, and statistics of many rows."""
