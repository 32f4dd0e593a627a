"""A classifier in torch and safetensors.

Export:   graphadapter export my-classifier classifier.safetensors
Command:  python use_safetensors.py classifier.safetensors features.npy
Output:   the class name and the probability of every row of the features [N, D]
"""

import json
import sys

import numpy as np
import torch
from safetensors import safe_open

x = torch.nn.functional.normalize(torch.from_numpy(np.load(sys.argv[2])).float(), dim=1)
with safe_open(sys.argv[1], "pt") as file:
    c = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    names = json.loads(file.metadata()["class_names"])
logits = c["logit_scale"] * x @ c["class_weights"].T + c["class_biases"]
for row in (logits / c["temperature"]).softmax(dim=1):
    print(f"{names[row.argmax()]}\t{row.max():.4f}")
