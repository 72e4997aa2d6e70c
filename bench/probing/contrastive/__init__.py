"""The contrastive stage: pairs of texts from the corpus, and the training of a copy on them."""
