"""A classifier as files for other libraries."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyg_graphadapter.adapters import LinearAdapter
from pyg_graphadapter.classifier.encoder_mixin import EncoderMixin
from pyg_graphadapter.classifier.head import head_of
from pyg_graphadapter.settings import warn

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.model import EncoderModel


class ExportMixin(EncoderMixin):
    """A classifier that is exported."""

    def export(
        self, path: str | Path | None = None, format: str | None = None, *, overwrite: bool = False
    ) -> Tensor | None:
        r"""The class weights ``[C, D]``: logits are ``logit_scale`` times their product with image
        features of length one, plus ``class_biases`` ``[C]`` where the method has any. Writes the
        classifier for another library, if a path is given.

        .. csv-table::
            :header: format, suffix, what it holds

            ``onnx``, .onnx, "the image tower with the head; of features, the head alone"
            ``onnx-head``, .onnx, "the head alone: features in, logits and probabilities out"
            ``safetensors``, .safetensors, "weights, with class names and preprocessing as metadata"
            ``transformers``, (a folder), "weights as text features, the model, and ``classify.py``"
            ``open_clip``, .pt, "the matrix ``[D, C]`` of its zero-shot classifier"
            ``torch``, .pt2, "the head as a program of :mod:`torch.export`"
            ``numpy``, .npz, "weights and class names as plain arrays"

        Probabilities of an export are those of :meth:`predict_proba`, with the temperature. Methods
        without class weights can be exported as ``onnx``, ``onnx-head`` and ``torch``, in which
        they compute their logits as they do here. ``examples/export`` uses every format.

        Args:
            path (str or Path, optional): The file or folder. (default: :obj:`None`)
            format (str, optional): The format, where the suffix does not say it.
                (default: :obj:`None`)
            overwrite (bool, optional): Replace what is there. (default: :obj:`False`)

        Returns:
            torch.Tensor: The class weights; :obj:`None` where the method has none and wrote a file.

        Raises:
            ValueError: If the method is transductive, the format is not clear or cannot hold the
                classifier, there is such a file, or there are no weights and no path.
            OSError: If the file cannot be written.
        """
        weights = None
        if path is not None:
            from pyg_graphadapter.classifier.export_formats import (
                FORMATS,
                Exported,
                check_target,
                format_of,
                write_export,
            )

            path = Path(path)
            name = format_of(path, format)
            head = head_of(self.adapter, self.temperature)
            check_target(path, name, overwrite=overwrite)
            encoder = self._encoder_for_export(name) if FORMATS[name].takes_encoder else None
            write_export(Exported(head, self.class_names, encoder), path, name)
        if isinstance(self.adapter, LinearAdapter) and not self.adapter.is_transductive:
            with torch.no_grad():
                weights = self.adapter.class_weights().detach()
        elif path is None:
            head_of(self.adapter)  # says so of a transductive method
            raise ValueError(
                f"{type(self.adapter).__name__} compares an image with more than one weight per "
                f"class, so there are none to export: give a path, as classifier.onnx or "
                f"classifier.pt2, for its graph."
            )
        return weights

    def _encoder_for_export(self, name: str) -> "EncoderModel | None":
        """The encoder of a classifier of images; where only its preprocessing is wanted, a model
        that cannot be loaded is left out."""
        if not self.encoding:
            return None
        if name != "safetensors":
            return self.encoder
        try:
            return self.encoder
        except ValueError as error:
            warn(f"The file says nothing of the preprocessing of images: {error}")
            return None
