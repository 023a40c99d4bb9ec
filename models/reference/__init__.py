"""Models that need nothing but what is shipped, and the methods that act on any of their kind."""
