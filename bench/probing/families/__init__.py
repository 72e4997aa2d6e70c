"""Families of tasks: each turns labelled examples into features, a probe and a score."""
