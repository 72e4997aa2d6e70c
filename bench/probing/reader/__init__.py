"""The reader of a finished run: features, likelihoods, hidden words and trainable copies."""
