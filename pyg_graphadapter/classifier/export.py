"""A classifier of images as one ONNX file: image tower and class weights, without PyTorch."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pyg_graphadapter.display import json_text
from pyg_graphadapter.encoding.encoder import Encoder
from pyg_graphadapter.encoding.model import EncoderModel
from pyg_graphadapter.graph import check_features, unit
from pyg_graphadapter.outputs import check_output_file
from pyg_graphadapter.storage import write_output

ONNX_FORMAT = "pyg_graphadapter/onnx/1"
MAX_BYTES = 2**31 - 1  # of an ONNX file, for it is one protobuf message
LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")


def export_onnx(
    encoder: EncoderModel,
    class_weights: Tensor,
    logit_scale: float,
    path: str | Path,
    class_names: Sequence[str],
    class_biases: Tensor | None = None,
) -> None:
    r"""Writes the image tower :math:`f` of an encoder, and a classifier over its features, as one
    ONNX graph.

    .. math::
        \textrm{logits} = s \cdot \frac{f(\textrm{pixels})}{{\Vert f(\textrm{pixels}) \Vert}_2}
        \mathbf{W}^{\top} + \mathbf{b}, \qquad
        \textrm{probabilities} = \textrm{softmax}(\textrm{logits})

    The file's metadata hold ``class_names`` (a JSON list) and ``preprocessing`` (the settings of
    the image processor, JSON), from which the pixels are to be made:

    .. code-block:: python

        session = onnxruntime.InferenceSession("classifier.onnx")
        names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
        logits, probabilities = session.run(None, {"pixel_values": pixels})

    Args:
        encoder (EncoderModel): The encoder, an :class:`Encoder` in ``float32``.
        class_weights (torch.Tensor): The weights :math:`\mathbf{W}`
            (:meth:`~pyg_graphadapter.adapters.Adapter.class_weights`).
        logit_scale (float): The factor :math:`s`.
        path (str or Path): The file; one that is there is replaced.
        class_names (sequence of str): The names of the classes.
        class_biases (torch.Tensor, optional): The biases :math:`\mathbf{b}`.
            (default: :obj:`None`)

    Shapes:
        - **class_weights:** :math:`(C, D)`; **class_biases:** :math:`(C)`
        - **input of the graph:** ``pixel_values`` :math:`(N, 3, H, W)`, ``float32``, rescaled and
          normalised; any :math:`N`, and the :math:`H` and :math:`W` of the image processor
        - **outputs of the graph:** ``logits`` and ``probabilities`` :math:`(N, C)`

    Raises:
        ValueError: If the extra ``onnx`` is not installed or too old, the weights fit neither the
            names nor the encoder, the encoder takes something else than :math:`(N, 3, H, W)` pixels
            or is in half precision, or the graph is larger than an ONNX file can be.
        OSError: If the file cannot be written.
    """
    check_output_file(path)
    check_features(class_weights, "class_weights")
    if len(class_names) != len(class_weights):
        raise ValueError(f"{len(class_names)} class names for {len(class_weights)} classes.")
    if not isinstance(encoder, Encoder):
        raise ValueError(
            f"The model {encoder.name!r} cannot be exported to ONNX, only those of transformers: "
            f"export the class weights to a .safetensors file."
        )
    if (dtype := next(encoder.model.parameters()).dtype) != torch.float32:
        raise ValueError(f"Only float32 can be exported (got {dtype}): use dtype='float32'.")

    pixels = _pixels(encoder.processor).to(encoder.model.device)
    classifier = _ImageClassifier(encoder.model, class_weights, logit_scale, class_biases).eval()
    if (width := classifier.features(pixels).size(1)) != class_weights.size(1):
        raise ValueError(
            f"The class weights are {class_weights.size(1)} wide, but the features of the encoder "
            f"{width}: use the encoder that they were made with."
        )
    metadata = {
        "format": ONNX_FORMAT,
        "class_names": json_text(list(class_names)),
        "preprocessing": encoder.processor.to_json_string(),
    }
    try:
        content = _graph_of(classifier, pixels, metadata)
    except ImportError as error:
        raise ValueError(
            f"The export needs the extra [onnx]: pip install 'pyg-graphadapter[onnx]' ({error})."
        ) from error
    write_output(path, content)


class _ImageClassifier(torch.nn.Module):
    """Pixels in, logits and probabilities out."""

    class_weights: Tensor
    class_biases: Tensor

    def __init__(
        self, model: Any, class_weights: Tensor, logit_scale: float, class_biases: Tensor | None
    ) -> None:
        super().__init__()
        biases = (
            class_weights.new_zeros(len(class_weights)) if class_biases is None else class_biases
        )
        self.model = model
        self.register_buffer("class_weights", class_weights.detach().to(model.device).float())
        self.register_buffer("class_biases", biases.detach().to(model.device).float())
        self.logit_scale = logit_scale

    @torch.no_grad()
    def features(self, pixel_values: Tensor) -> Tensor:
        """Features of length one ``[N, D]``."""
        return unit(self.model.get_image_features(pixel_values=pixel_values).pooler_output)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logit_scale * (self.features(pixel_values) @ self.class_weights.t())
        logits = logits + self.class_biases
        return logits, logits.softmax(dim=1)


def _pixels(processor: Any) -> Tensor:
    """Two images as the tower takes them, ``[2, 3, H, W]``; one would be taken for a constant."""
    image = Image.new("RGB", (64, 48))
    pixels: Tensor = processor(images=[image, image], return_tensors="pt")["pixel_values"]
    if pixels.dim() != 4:
        raise ValueError(
            f"Only encoders whose images are all resized to one size can be exported (got "
            f"'pixel_values' of shape {list(pixels.shape)} from {type(processor).__name__}, not "
            f"[N, 3, H, W]): SigLIP 2 has such variants beside those named 'naflex'."
        )
    return pixels


def _graph_of(classifier: _ImageClassifier, pixels: Tensor, metadata: dict[str, str]) -> bytes:
    with _quiet():
        program = torch.onnx.export(
            classifier,
            (pixels,),
            dynamo=True,
            verbose=False,
            input_names=["pixel_values"],
            output_names=["logits", "probabilities"],
            dynamic_shapes={"pixel_values": {0: torch.export.Dim("N")}},
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
def _quiet() -> Iterator[None]:
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
