"""A finished run as tasks read it: features, likelihoods and trainable copies."""
