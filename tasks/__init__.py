"""The downstream tasks, one per file; the folder is the list.

File name == command-line name == `Task.name`. The families are in `bench.probing.families`.
"""
