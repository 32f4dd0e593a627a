"""Fitted classifiers: predicting, saving, exporting and explaining."""
