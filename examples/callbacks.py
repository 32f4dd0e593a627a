"""Feed a tracker of experiments: the loss of every epoch, as rows of a CSV file.

A tracker of your own takes the place of the writer: TensorBoard's ``add_scalar``, MLflow's
``log_metric``, or ``wandb.log``.

Command:  python examples/callbacks.py
Time:     2 seconds
Output:   method  shots  seed  epoch  loss  lr
          graph_adapter  4  1  1  1.29803  0.001
          graph_adapter  4  1  100  0.219015  2.4672e-07
          301 lines
"""

import csv
import io

from pyg_graphadapter import Callback, FewShotClassifier
from pyg_graphadapter.testing import fake_features


class CsvTracker(Callback):
    """Writes one row per epoch."""

    def __init__(self, stream):
        self.rows = csv.writer(stream, lineterminator="\n")
        self.rows.writerow(["method", "shots", "seed", "epoch", "loss", "lr"])

    def on_epoch(self, training, epoch, loss, lr):
        row = [training.method, training.shots, training.seed, epoch, f"{loss:.6g}", f"{lr:.6g}"]
        self.rows.writerow(row)


stream = io.StringIO()  # or open("losses.csv", "w")
tracker = CsvTracker(stream)
for seed in (1, 2, 3):
    FewShotClassifier.fit(fake_features(), shots=4, seed=seed, callbacks=[tracker], progress=False)

lines = stream.getvalue().splitlines()
for line in (*lines[:2], lines[100]):
    print(line.replace(",", "  "))
print(f"{len(lines)} lines")
