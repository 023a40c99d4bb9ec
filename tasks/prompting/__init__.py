"""Prompts with one mask: the data sets of prompt-based finetuning, and a generated world of sentences."""
