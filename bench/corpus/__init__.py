"""From text to rows of tokens: sources, tokenizer, token store, order."""
