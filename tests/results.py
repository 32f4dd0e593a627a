"""Results as experiments write them."""

from pyg_graphadapter.report.results import RESULT_FORMAT


def result(method="graph_adapter", shots=1, seed=1, accuracy=50.0, **more):
    return {
        "format": RESULT_FORMAT,
        "method": method,
        "shots": shots,
        "seed": seed,
        "variant": "",
        "protocol": "honest",
        "accuracy": accuracy,
        "fit_seconds": 1.0,
        "parameters": 1234567,
        "dataset": "a",
        "backbone": "some/clip-vit-base-patch16",
    } | more
