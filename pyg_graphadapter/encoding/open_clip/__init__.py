"""Checkpoints of open_clip, read without that package."""
