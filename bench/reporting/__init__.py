"""Comparisons of runs: tables, texts, data frames, figures and pages, all derived from records."""
