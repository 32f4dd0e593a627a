"""A classifier in numpy alone.

Export:   graphadapter export my-classifier classifier.npz
Command:  python use_numpy.py classifier.npz features.npy
Output:   the class name and the probability of every row of the features [N, D]
"""

import sys

import numpy as np

classifier, x = np.load(sys.argv[1]), np.load(sys.argv[2]).astype(np.float32)
x = x / np.linalg.norm(x, axis=1, keepdims=True)
logits = classifier["logit_scale"] * x @ classifier["class_weights"].T + classifier["class_biases"]
scaled = logits / classifier["temperature"]
probabilities = np.exp(scaled - scaled.max(axis=1, keepdims=True))
probabilities /= probabilities.sum(axis=1, keepdims=True)
for row in probabilities:
    print(f"{classifier['class_names'][row.argmax()]}\t{row.max():.4f}")
