"""A classifier as a program of torch.export.

Export:   graphadapter export my-classifier classifier.pt2
Command:  python use_torch_export.py classifier.pt2 features.npy
Output:   the class name and the probability of every row of the features [N, D]
"""

import json
import sys

import numpy as np
import torch

files = {"class_names.json": ""}
program = torch.export.load(sys.argv[1], extra_files=files).module()
names = json.loads(files["class_names.json"])
logits, probabilities = program(torch.from_numpy(np.load(sys.argv[2])).float())
for row in probabilities:
    print(f"{names[row.argmax()]}\t{row.max():.4f}")
