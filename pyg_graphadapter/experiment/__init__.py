"""Experiments: a grid of methods, shots and seeds over tasks of features."""
