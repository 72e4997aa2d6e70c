"""Grids of text, and their spelling for terminals, papers, notebooks and data frames."""
