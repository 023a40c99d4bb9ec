"""Finetuning: the loop that trains everything, the recipes of chapter 3 and the methods that read what they leave."""
