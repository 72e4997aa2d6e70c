"""The pretraining objectives, one per file. The list of objectives is this folder.

The file name, the command-line name and `Objective.name` are the same. Adding a file adds an
objective; nothing has to be registered.
"""
