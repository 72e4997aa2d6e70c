"""From text to rows of tokens: sources, tokenizer, token store, order."""

GENERATED = "micro"
"""The name of the generated corpus, which is the default one; its tasks have known answers."""
