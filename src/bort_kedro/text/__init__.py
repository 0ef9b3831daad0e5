"""Text: prose, its splits, tokens, tokenizers and what trims them."""
