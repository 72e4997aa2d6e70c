"""Observers of runs in progress: the contract, the threads they run in, and the built-in ones."""
