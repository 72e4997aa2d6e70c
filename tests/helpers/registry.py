"""The registry of the built-in plugins, loaded once: every load executes their files again."""

from bench.registry import Registry

REGISTRY = Registry()
