"""The zero-shot classifier of open_clip and CLIP_benchmark: a matrix [D, C].

Export:   graphadapter export my-classifier classifier.pt
Command:  python use_open_clip.py classifier.pt features.npy
Output:   the number and the probability of the class of every row of the features [N, D]

With open_clip, the features are normalize(model.encode_image(images), dim=1).
"""

import sys

import numpy as np
import torch

classifier = torch.load(sys.argv[1], weights_only=True)
features = torch.nn.functional.normalize(torch.from_numpy(np.load(sys.argv[2])).float(), dim=1)
for row in (100.0 * features @ classifier).softmax(dim=1):
    print(f"{int(row.argmax())}\t{row.max():.4f}")
