"""Images and class names to features: models, decoded batches, cached shards, sources."""
