"""Statistics over seeds and examples: numbers in, numbers out."""
