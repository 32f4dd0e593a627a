"""The training loop, the evaluation and the selection rule of all methods."""
