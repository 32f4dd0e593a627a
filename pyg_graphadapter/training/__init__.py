"""One training loop, one evaluation and one selection rule for all methods."""
