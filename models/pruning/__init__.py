"""Token pruning: fewer visual tokens for the language model to read."""
