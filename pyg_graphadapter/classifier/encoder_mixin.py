"""The encoder of a classifier, and features of images by it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pyg_graphadapter.classifier.base import ClassifierBase, Images
from pyg_graphadapter.classifier.inputs import FeatureInput, ImageInput, Input, read_input
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.identity import PARTS, changed_parts
from pyg_graphadapter.progress import obeys_progress

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.model import EncoderModel
    from pyg_graphadapter.encoding.pipeline import EncodedImages


class EncoderMixin(ClassifierBase):
    """A classifier that encodes images as those that it was fitted on."""

    def use_encoder(self, encoder: "EncoderModel", config: EncodingConfig | None = None) -> None:
        """Sets the encoder of further images, which must be that of the training features."""
        self._encoder = encoder
        identity = encoder.identity()
        self.encoding = {
            "model": encoder.name,
            "revision": identity.get("revision"),
            **{part: identity.get(part) for part in PARTS},
            "width": encoder.num_channels,
            **(config or EncodingConfig()).describe(),
        }
        if not encoder.has_texts:
            self.encoding["has_texts"] = False

    @property
    def encoder(self) -> "EncoderModel":
        """The encoder, loaded when it is first needed.

        Raises:
            ValueError: If the classifier was fitted on features, or the encoder that its name
                leads to now is another one.
        """
        if self._encoder is None:
            self.load_encoder()
        assert self._encoder is not None
        return self._encoder

    def load_encoder(self, device: str = "auto", *, offline: bool = False) -> None:
        """Loads the encoder that the classifier was fitted with.

        Raises:
            ValueError: If it cannot be loaded, or is another one.
        """
        if not self.encoding:
            raise ValueError(
                "The classifier was fitted on features, so it knows no encoder for images: pass "
                "features, or say which encoder they came from with use_encoder."
            )
        if not self.encoding.get("has_texts", True):
            raise ValueError(
                f"The classifier was fitted with an encoder of images alone, "
                f"{self.encoding['model']!r}, which is not saved with it: make it again, and pass "
                f"it to use_encoder."
            )
        from pyg_graphadapter.encoding.encoder import Encoder  # loads transformers
        from pyg_graphadapter.encoding.part_hashes import hash_of_weights_and_configuration

        encoding = self.encoding
        encoder = Encoder.from_pretrained(
            encoding["model"],
            revision=encoding["revision"],
            dtype=encoding["dtype"],
            device=device,
            local_files_only=offline,
        )
        changed = changed_parts(encoding, encoder.identity())
        both = encoding.get("weights_and_configuration")  # of classifiers of format 1
        if both is not None and both != hash_of_weights_and_configuration(encoder.model):
            changed.append("weights or configuration")
        if changed:
            raise ValueError(
                f"The model {encoding['model']!r} is not the one that the classifier was fitted "
                f"with: its {' and '.join(changed)} changed. Fit the classifier again, or restore "
                f"the model."
            )
        self._encoder = encoder

    @obeys_progress
    def encode(self, images: Images, *, progress: bool = True) -> Tensor:
        """Features ``[N, D]`` of images: a folder, paths, PIL images, arrays or a data set.

        Raises:
            ValueError: If one cannot be decoded, or there is no encoder.
        """
        return self.encode_images(images, strict=True, progress=progress).x[:, 0]

    @obeys_progress
    def encode_images(
        self, images: Images, *, strict: bool = False, progress: bool = True
    ) -> "EncodedImages":
        """Features of images, and the images that cannot be decoded.

        Args:
            images: Images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            strict (bool, optional): Stop at an image that cannot be decoded, instead of skipping
                it. (default: :obj:`False`)
            progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

        Raises:
            ValueError: If these are no images, one cannot be decoded and :obj:`strict`, or there is
                no encoder.
        """
        given = self._input(images)
        if isinstance(given, FeatureInput) and len(given.x):
            raise ValueError("These are features already, which are not encoded: give images.")
        listed = given.images if isinstance(given, ImageInput) else []
        return self._encode(listed, strict=strict, progress=progress)

    def _encode(
        self, images: Sequence[Any], *, strict: bool = False, progress: bool = True
    ) -> "EncodedImages":
        encoder = self.encoder  # says so where there is none
        from pyg_graphadapter.encoding.pipeline import pipeline_of

        return pipeline_of(encoder, EncodingConfig()).encode(
            images, strict=strict, progress=progress
        )

    def _input(self, x: Any, *, follow_links: bool = False) -> Input:
        of = f" of {self.encoding['model']}" if self.encoding else ""
        return read_input(x, self.adapter.text.size(1), of, follow_links=follow_links)
