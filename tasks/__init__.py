"""The downstream tasks, one per file; the folder is the list.

File name == command-line name == `Task.name`. A family's base class lives in `bench.probing`.
"""
