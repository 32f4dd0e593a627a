"""A classifier of images as one ONNX file, with its image tower, without PyTorch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pyg_graphadapter.classifier.head import Head, LinearHead, graph_errors
from pyg_graphadapter.classifier.onnx_graph import check_names, graph_of, metadata_of
from pyg_graphadapter.encoding.encoder import Encoder
from pyg_graphadapter.encoding.model import EncoderModel
from pyg_graphadapter.outputs import check_output_file
from pyg_graphadapter.storage import write_output


def export_onnx(
    encoder: EncoderModel,
    class_weights: Tensor,
    logit_scale: float,
    path: str | Path,
    class_names: Sequence[str],
    class_biases: Tensor | None = None,
    temperature: float = 1.0,
) -> None:
    r"""Writes the image tower :math:`f` of an encoder, and a classifier over its features, as one
    ONNX graph.

    .. math::
        \textrm{logits} = s \cdot \frac{f(\textrm{pixels})}{{\Vert f(\textrm{pixels}) \Vert}_2}
        \mathbf{W}^{\top} + \mathbf{b}, \qquad
        \textrm{probabilities} = \textrm{softmax}(\textrm{logits} / T)

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
        temperature (float, optional): The temperature :math:`T`. (default: :obj:`1.0`)

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
    head = LinearHead(class_weights, class_biases, logit_scale, temperature)
    export_image_classifier(encoder, head, path, class_names)


def export_image_classifier(
    encoder: EncoderModel, head: Head, path: str | Path, class_names: Sequence[str]
) -> None:
    """Writes the image tower of an encoder with any head, as :func:`export_onnx` does.

    Raises:
        ValueError: As for :func:`export_onnx`, and if the method of the head has no ONNX graph.
        OSError: If the file cannot be written.
    """
    check_output_file(path)
    check_names(class_names, head)
    if not isinstance(encoder, Encoder):
        raise ValueError(
            f"The model {encoder.name!r} cannot be exported to ONNX, only those of transformers: "
            f"export the head alone (format='onnx-head'), or to a .safetensors file."
        )
    if (dtype := next(encoder.model.parameters()).dtype) != torch.float32:
        raise ValueError(f"Only float32 can be exported (got {dtype}): use dtype='float32'.")

    pixels = _pixels(encoder.processor).to(encoder.model.device)
    classifier = _ImageClassifier(encoder.model, head).eval()
    if (width := classifier.features(pixels).size(1)) != head.width:
        raise ValueError(
            f"The class weights are {head.width} wide, but the features of the encoder "
            f"{width}: use the encoder that they were made with."
        )
    metadata = metadata_of(class_names) | {"preprocessing": encoder.processor.to_json_string()}
    with graph_errors(head):
        content = graph_of(classifier, pixels, "pixel_values", metadata)
    write_output(path, content)


class _ImageClassifier(torch.nn.Module):
    """Pixels in, logits and probabilities out."""

    def __init__(self, model: Any, head: Head) -> None:
        super().__init__()
        self.model, self.head = model, head.to(model.device)

    @torch.no_grad()
    def features(self, pixel_values: Tensor) -> Tensor:
        """Features ``[N, D]``."""
        features: Tensor = self.model.get_image_features(pixel_values=pixel_values).pooler_output
        return features

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        outputs: tuple[Tensor, Tensor] = self.head(self.features(pixel_values))
        return outputs


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
