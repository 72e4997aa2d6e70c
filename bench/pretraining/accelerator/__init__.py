"""The differences of a run on a GPU, so that the GPU does not wait for Python.

Every part runs on a CPU too, where tests compare it with the plain way.
"""
