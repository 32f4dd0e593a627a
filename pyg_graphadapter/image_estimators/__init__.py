"""Images for scikit-learn: a transformer into features, and a classifier."""
