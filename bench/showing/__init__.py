"""Showing room: what an objective does to text, token by token and counted over many rows."""
