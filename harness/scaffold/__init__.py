"""Templates of a new plugin package."""
