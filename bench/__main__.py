"""`python -m bench` is `bench`."""

from bench.cli import process

process()
