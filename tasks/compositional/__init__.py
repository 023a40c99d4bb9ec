"""Two simple tasks and their composite, asked by demonstrations: logical rules, and translations of sentences."""
