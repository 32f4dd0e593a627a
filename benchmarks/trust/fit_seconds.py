"""Prints the processor time of `fit` on a feature file, in seconds, with selection as it comes.

python benchmarks/trust/fit_seconds.py FEATURES.npz
"""

import sys
import time

import torch

from pyg_graphadapter import FeatureFile, FewShotClassifier
from pyg_graphadapter.task import draw_task

torch.set_num_threads(1)
task = draw_task(FeatureFile.load(sys.argv[1]), shots=4, seed=1)
start = time.process_time()
FewShotClassifier.fit(task, select=True, progress=False)
print(round(time.process_time() - start, 2))
