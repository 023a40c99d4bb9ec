"""Measuring what a model costs."""
