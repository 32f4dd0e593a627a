"""A classifier of features in ONNX Runtime. One of images takes "pixel_values" instead.

Export:   graphadapter export my-classifier classifier.onnx --format onnx-head
Command:  python use_onnx.py classifier.onnx features.npy
Output:   the class name and the probability of every row of the features [N, D]
"""

import json
import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
features = np.load(sys.argv[2]).astype(np.float32)
logits, probabilities = session.run(["logits", "probabilities"], {"features": features})
for row in probabilities:
    print(f"{names[row.argmax()]}\t{row.max():.4f}")
