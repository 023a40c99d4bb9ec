"""A gate for CI: has a change slowed a model, lost accuracy, or altered what must stay as it is?

Three kinds of checks, each with its own way to err:

- `exact`: what follows from the code alone is equal to a stored baseline;
- `accuracy`: on the same samples, a loss beyond a margin is ruled out;
- `clock`: base and head are timed in turn, in one job, and never against a time that was stored.
"""
