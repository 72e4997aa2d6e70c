"""The pretraining objectives, one per file; the folder is the list.

File name == command-line name == `Objective.name`. Adding a file is all it takes.
"""
