"""The pictures of chapter 5, made of runs: one figure a file, each registered like anybody's."""
