"""Conclusions from a table: the objectives that learned, the verdict, the next step, its cost."""
