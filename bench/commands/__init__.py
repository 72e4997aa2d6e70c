"""What `bench` does, a module for each kind of question; `bench.cli` puts them together."""
