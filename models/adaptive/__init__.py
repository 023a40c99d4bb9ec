"""Adaptive inference under a compute budget (dissertation, chapter 5)."""
