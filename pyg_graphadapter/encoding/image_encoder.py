"""Any module or function as an encoder of images alone."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from pyg_graphadapter.device import resolve_device
from pyg_graphadapter.encoding.batch_function import InOtherLibraries
from pyg_graphadapter.encoding.encoder import BATCH_SIZE
from pyg_graphadapter.encoding.part_hashes import hash_of, hash_of_weights
from pyg_graphadapter.encoding.parts import checked_image_features, encoded_in_parts
from pyg_graphadapter.encoding.views import Views

SIZES = ((64, 48), (48, 64), (32, 32))  # of the images that a transform is recognised by


class ImageEncoder(InOtherLibraries):
    r"""A module or function that gives features of images, without texts.

    It implements :class:`~pyg_graphadapter.encoding.model.EncoderModel`. Only methods that need no
    text can be fitted to its features, as ``linear_probe``, ``gda`` and ``graph_adapter``.

    Features are cached, and classifiers are compared with their encoder, by its weights, if it is a
    module, by the pixels that the transform makes of three images, by :obj:`name`, and by
    :obj:`version`. Change the version whenever something else changes the features.

    Args:
        model (callable): Gives features :math:`(B, D)` of pixels :math:`(B, 3, H, W)`.
        transform (callable): Makes pixels :math:`(3, H, W)` of a PIL image in RGB, always the same.
        name (str): The name that results and caches record.
        version (str, optional): Tells models of one name apart; a function needs one, since it
            cannot be recognised. (default: :obj:`""`)
        logit_scale (float, optional): The factor of the cosine. (default: :obj:`100.0`)
        device (str, optional): The device to compute on. (default: :obj:`"auto"`)
        batch_size (int, optional): The number of views per batch. If not given, 8 on a CPU and 256
            on a GPU. (default: :obj:`None`)

    Raises:
        ValueError: If a function has no version, the transform is random, or what they give has
            another shape, is not finite or is zero.

    Example:
        >>> def colours(pixels):
        ...     return pixels.mean(dim=(2, 3)) + 1
        >>> def as_tensor(image):
        ...     return torch.tensor(np.asarray(image.resize((8, 8)))).permute(2, 0, 1) / 255
        >>> ImageEncoder(colours, as_tensor, name="colours", version="1").num_channels
        3
    """

    has_texts = False

    def __init__(
        self,
        model: nn.Module | Callable[[Tensor], Tensor],
        transform: Callable[[Image.Image], Tensor],
        *,
        name: str,
        version: str = "",
        logit_scale: float = 100.0,
        device: str = "auto",
        batch_size: int | None = None,
    ) -> None:
        if not isinstance(model, nn.Module) and not version:
            raise ValueError(
                f"The function {name!r} needs a 'version': cached features of another function of "
                f"the same name cannot be told from its own."
            )
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"'batch_size' must be at least 1 (got {batch_size}).")
        self.name, self.version, self.logit_scale = name, version, logit_scale
        self.device = resolve_device(device)
        self.model = model
        if isinstance(model, nn.Module):
            self.model = model.to(self.device).eval().requires_grad_(False)
        self.batch_size = batch_size or BATCH_SIZE[self.device.type]
        self._processor = _Processor(transform, name)
        pixels = self._processor([_noise(SIZES[0])])["pixel_values"]
        self.num_channels = self._features({"pixel_values": pixels}).size(1)

    def identity(self) -> dict[str, Any]:
        """Everything that features depend on, save the image."""
        weights = configuration = None
        if isinstance(self.model, nn.Module):
            weights, configuration = hash_of_weights(self.model), hash_of(repr(self.model))
        return {
            "model": self.name,
            "revision": self.version,
            "weights": weights,
            "configuration": configuration,
            "preprocessing": self._processor.digest,
            "torch": torch.__version__,
        }

    def preprocessing(self, views: int, seed: int) -> Views:
        """The transform, and augmented views."""
        return Views(self._processor, views, seed)

    def image_features(self, batch: dict[str, Tensor], preprocessing: Views) -> Tensor:
        """Features of length one ``[B * V, D]``."""
        return encoded_in_parts(self, batch, self._features)

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Raises an error: it has no text tower."""
        raise ValueError(f"The model {self.name!r} has no text tower.")

    @torch.inference_mode()
    def _features(self, inputs: dict[str, Tensor]) -> Tensor:
        pixels = inputs["pixel_values"].to(self.device, non_blocking=True)
        x = self.model(pixels)
        shape = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        if not isinstance(x, Tensor) or x.dim() != 2 or len(x) != len(pixels):
            raise ValueError(
                f"The model {self.name!r} must give features [{len(pixels)}, D] of pixels "
                f"{list(pixels.shape)} (got {shape}): wrap it in a function that does."
            )
        return checked_image_features(x, self.name)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.name!r}, device={str(self.device)!r})"


class _Processor:
    """A transform in the place of an image processor of transformers."""

    def __init__(self, transform: Callable[[Image.Image], Tensor], name: str) -> None:
        self.transform, self.name = transform, name
        self.digest = self._digest()
        if self._digest() != self.digest:
            raise ValueError(
                f"The transform of {name!r} gives the same image other pixels each time: leave "
                f"random crops and flips out. Augmented views are made before it."
            )

    def _digest(self) -> str:
        """The hash of the pixels that it makes of some images."""
        pixels = [self._pixels(_noise(size)) for size in SIZES]
        shapes = [list(x.shape) for x in pixels]
        if shapes.count(shapes[0]) < len(shapes):
            raise ValueError(
                f"The transform of {self.name!r} must make pixels of one shape of all images (got "
                f"{', '.join(map(str, shapes))})."
            )
        content = torch.stack(pixels).view(torch.uint8).numpy().tobytes()
        description = f"{pixels[0].dtype} {shapes[0]}".encode()
        return hashlib.sha256(description + content).hexdigest()

    def to_json_string(self) -> str:
        """What the pixels depend on, save the image."""
        return json.dumps({"pixels": self.digest})

    def __call__(self, images: Sequence[Image.Image], **_: Any) -> dict[str, Tensor]:
        """The pixels ``[N, 3, H, W]`` of images, as ``pixel_values``."""
        return {"pixel_values": torch.stack([self._pixels(image) for image in images])}

    def _pixels(self, image: Image.Image) -> Tensor:
        pixels = self.transform(image)
        if not isinstance(pixels, Tensor) or pixels.dim() != 3 or not pixels.isfinite().all():
            shape = list(pixels.shape) if isinstance(pixels, Tensor) else type(pixels).__name__
            raise ValueError(
                f"The transform of {self.name!r} must make finite pixels [3, H, W] of an image "
                f"(got {shape})."
            )
        return pixels.cpu()


def _noise(size: tuple[int, int]) -> Image.Image:
    width, height = size
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)
