"""The files that a classifier is exported to, for other libraries."""

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors.torch
import torch

from pyg_graphadapter.classifier.head import Head, LinearHead, graph_errors
from pyg_graphadapter.classifier.onnx_graph import check_names, export_head, quiet_exporter
from pyg_graphadapter.display import json_text
from pyg_graphadapter.outputs import check_output_file
from pyg_graphadapter.settings import unknown
from pyg_graphadapter.storage import write_output

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.model import EncoderModel

OPEN_CLIP_SCALE = 100.0  # of the cosine, in open_clip's and CLIP_benchmark's zero-shot evaluation
PROGRAM_FORMAT = "pyg_graphadapter/program/1"


@dataclass(frozen=True)
class Exported:
    """What is exported.

    Args:
        head (Head): Features in, logits and probabilities out.
        class_names (tuple of str): The names of the classes.
        encoder (EncoderModel, optional): The encoder of images, where there is one.
    """

    head: Head
    class_names: tuple[str, ...]
    encoder: "EncoderModel | None" = None

    def weights(self, what: str) -> LinearHead:
        """The head, which must have class weights.

        Raises:
            ValueError: If it has none.
        """
        if not isinstance(self.head, LinearHead):
            raise ValueError(
                f"{what} holds one weight per class, and this method compares an image with more "
                f"than that: export its graph, as 'onnx-head' (.onnx) or 'torch' (.pt2)."
            )
        return self.head


def write_onnx(exported: Exported, path: Path) -> None:
    """The image tower with the head; of a classifier of features, the head alone."""
    if exported.encoder is None:
        write_onnx_head(exported, path)
        return
    from pyg_graphadapter.classifier.export import export_image_classifier  # loads transformers

    export_image_classifier(exported.encoder, exported.head, path, exported.class_names)


def write_onnx_head(exported: Exported, path: Path) -> None:
    """The head alone: ``features`` in."""
    export_head(exported.head, path, exported.class_names)


def write_safetensors(exported: Exported, path: Path) -> None:
    """``class_weights``, ``class_biases``, ``logit_scale`` and ``temperature``; ``class_names`` and
    ``preprocessing`` are in the metadata, as JSON."""
    head = exported.weights("A .safetensors file")
    tensors = {
        "class_weights": head.class_weights,
        "class_biases": head.class_biases,
        "logit_scale": torch.tensor(head.logit_scale),
        "temperature": torch.tensor(head.temperature),
    }
    metadata = {"class_names": json_text(list(exported.class_names))}
    processor = getattr(exported.encoder, "processor", None)
    if processor is not None:
        metadata["preprocessing"] = processor.to_json_string()
    write_output(path, safetensors.torch.save(tensors, metadata))


def write_numpy(exported: Exported, path: Path) -> None:
    """``class_weights``, ``class_biases``, ``logit_scale``, ``temperature`` and ``class_names``, as
    plain arrays."""
    head = exported.weights("A .npz file")
    names = np.array(exported.class_names)
    if names.tolist() != list(exported.class_names):  # they may not end with a zero character
        raise ValueError("A class name ends with a zero character, which numpy leaves out: rename.")
    buffer = io.BytesIO()
    np.savez(
        buffer,
        class_weights=head.class_weights.numpy(),
        class_biases=head.class_biases.numpy(),
        logit_scale=np.float32(head.logit_scale),
        temperature=np.float32(head.temperature),
        class_names=names,
    )
    write_output(path, buffer.getvalue())


def write_open_clip(exported: Exported, path: Path) -> None:
    r"""The matrix ``[D, C]`` of open_clip's zero-shot classifier, as a plain tensor, for

    .. math::
        \textrm{probabilities} = \textrm{softmax}(100 \cdot \mathbf{x} \mathbf{M}), \qquad
        \mathbf{M} = \frac{s}{100 \cdot T} \mathbf{W}^{\top}

    Its columns have length one where :math:`s = 100 \cdot T` and the class weights have.
    """
    head = exported.weights("open_clip's matrix")
    biases = head.class_biases
    if (biases != biases[0]).any():  # equal ones change no probability
        raise ValueError(
            "open_clip's matrix has no place for class biases, which this classifier has: export "
            "it as 'numpy' (.npz) or 'safetensors', which hold them."
        )
    scale = head.logit_scale / (OPEN_CLIP_SCALE * head.temperature)
    buffer = io.BytesIO()
    torch.save((scale * head.class_weights.t()).contiguous(), buffer)
    write_output(path, buffer.getvalue())


def write_program(exported: Exported, path: Path) -> None:
    """The head as a program of :mod:`torch.export`: features in, logits and probabilities out. The
    file ``class_names.json`` in it holds the names."""
    head = exported.head.eval()
    size = {"features": {0: torch.export.Dim("N")}}
    with quiet_exporter(), graph_errors(head), torch.no_grad():
        program = torch.export.export(head, (torch.ones(2, head.width),), dynamic_shapes=size)
    for node in program.graph.nodes:  # with the paths of this machine
        node.meta.pop("stack_trace", None)
    buffer = io.BytesIO()
    names = {"class_names.json": json_text(list(exported.class_names))}
    torch.export.save(program, buffer, extra_files=names)
    write_output(path, buffer.getvalue())


def write_transformers(exported: Exported, path: Path) -> None:
    """A folder with the class weights as text features, and a script that uses them."""
    from pyg_graphadapter.classifier.export_transformers import export_transformers

    export_transformers(exported, path)


@dataclass(frozen=True)
class Format:
    """A format that classifiers are exported to.

    Args:
        suffix (str): That of its files; none of a folder.
        write (callable): Writes it.
        takes_encoder (bool, optional): Whether it holds the encoder of images, or parts of it.
            (default: :obj:`False`)
    """

    suffix: str
    write: Callable[[Exported, Path], None]
    takes_encoder: bool = False


FORMATS = {
    "onnx": Format(".onnx", write_onnx, takes_encoder=True),
    "onnx-head": Format(".onnx", write_onnx_head),
    "safetensors": Format(".safetensors", write_safetensors, takes_encoder=True),
    "transformers": Format("", write_transformers, takes_encoder=True),
    "open_clip": Format(".pt", write_open_clip),
    "torch": Format(".pt2", write_program),
    "numpy": Format(".npz", write_numpy),
}


def format_of(path: Path, name: str | None) -> str:
    """The name of a format: the one that is given, or the first with the suffix of a path.

    Raises:
        ValueError: If it is unknown, or not clear from the path.
    """
    if name is not None:
        if name not in FORMATS:
            raise unknown("format", name, FORMATS)
        suffix = FORMATS[name].suffix
        if suffix and path.suffix != suffix:
            raise ValueError(f"Files of the format {name!r} end with {suffix} (got {path.name}).")
        return name
    for known, kind in FORMATS.items():
        if kind.suffix and kind.suffix == path.suffix:
            return known
    suffixes = [f"{kind.suffix} ({known})" for known, kind in FORMATS.items() if kind.suffix]
    raise ValueError(
        f"The format of {path.name} is not clear: let its name end with {', '.join(suffixes)}, or "
        f"name the format; 'transformers' makes a folder."
    )


def check_target(path: Path, name: str, *, overwrite: bool) -> None:
    """Checks, before the work, that an export can be written.

    Raises:
        ValueError: If there is something already and not ``overwrite``.
        OSError: If it cannot be written.
    """
    if not overwrite and os.path.lexists(path):
        raise ValueError(
            f"There is a file or folder {path} already: choose another name, or overwrite it "
            "(--overwrite)."
        )
    if FORMATS[name].suffix:
        check_output_file(path)


def write_export(exported: Exported, path: Path, name: str) -> None:
    """Writes a classifier in a format.

    Raises:
        ValueError: If the format cannot hold the classifier.
        OSError: If it cannot be written.
    """
    check_names(exported.class_names, exported.head)
    FORMATS[name].write(exported, path)


def format_names() -> Sequence[str]:
    """The names of all formats."""
    return tuple(FORMATS)
