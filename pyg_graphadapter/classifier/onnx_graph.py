"""ONNX graphs of classifiers, and a classifier of features as one ONNX file."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from pyg_graphadapter.classifier.head import Head, graph_errors
from pyg_graphadapter.display import json_text
from pyg_graphadapter.outputs import check_output_file
from pyg_graphadapter.storage import write_output

ONNX_FORMAT = "pyg_graphadapter/onnx/1"
MAX_BYTES = 2**31 - 1  # of an ONNX file, for it is one protobuf message
LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")


def export_head(head: Head, path: str | Path, class_names: Sequence[str]) -> None:
    """Writes a classifier of features as one ONNX graph. Its input is ``features``
    :math:`(N, D)`, of any length; its outputs are ``logits`` and ``probabilities``
    :math:`(N, C)`; its metadata hold ``class_names`` (a JSON list).

    Raises:
        ValueError: If the extra ``onnx`` is not installed or too old, or the method has no ONNX
            graph.
        OSError: If the file cannot be written.
    """
    check_output_file(path)
    check_names(class_names, head)
    features = torch.ones(2, head.width)
    with graph_errors(head):
        content = graph_of(head.eval(), features, "features", metadata_of(class_names))
    write_output(path, content)


def check_names(class_names: Sequence[str], head: Head) -> None:
    """Checks that every class has a name."""
    if len(class_names) != head.num_classes:
        raise ValueError(f"{len(class_names)} class names for {head.num_classes} classes.")


def metadata_of(class_names: Sequence[str]) -> dict[str, str]:
    """What every file holds beside its graph."""
    return {"format": ONNX_FORMAT, "class_names": json_text(list(class_names))}


def graph_of(
    classifier: torch.nn.Module, inputs: Tensor, name: str, metadata: dict[str, str]
) -> bytes:
    """The ONNX graph of a classifier of so many inputs as there are."""
    try:
        return _exported(classifier, inputs, name, metadata)
    except ImportError as error:
        raise ValueError(
            f"The export needs the extra [onnx]: pip install 'pyg-graphadapter[onnx]' ({error})."
        ) from error


def _exported(
    classifier: torch.nn.Module, inputs: Tensor, name: str, metadata: dict[str, str]
) -> bytes:
    with quiet_exporter():
        program = torch.onnx.export(
            classifier,
            (inputs,),
            dynamo=True,
            verbose=False,
            input_names=[name],
            output_names=["logits", "probabilities"],
            dynamic_shapes={name: {0: torch.export.Dim("N")}},
        )
    assert program is not None
    graph = program.model.graph
    # The exporter notes the stack trace of every node, with the paths of this machine:
    graph.metadata_props.clear()
    for node in graph.all_nodes():
        node.metadata_props.clear()
    size = sum(w.const_value.nbytes for w in graph.initializers.values() if w.const_value)
    if size > MAX_BYTES:
        raise ValueError(
            f"The weights take {size / 1e9:.1f} GB, but an ONNX file at most "
            f"{MAX_BYTES / 1e9:.1f} GB: use a smaller encoder."
        )
    program.model.metadata_props.update(metadata)
    content: bytes = program.model_proto.SerializeToString()
    return content


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Without what the exporter reports of its own inner workings."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            # From copying its own tree specifications:
            warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
