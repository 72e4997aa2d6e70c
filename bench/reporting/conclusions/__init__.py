"""What a table says: which objectives learned, the verdict, and the next step with its cost."""
