"""An image and its augmented views as the pixels that a vision tower takes."""

import importlib.metadata
import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL
import torch
import transformers
from PIL import Image
from torch import Tensor
from transformers import BatchFeature

from pyg_graphadapter.storage import sha256

# Both change pixels from one version to the next:
LIBRARIES = {"pillow": PIL.__version__, "transformers": transformers.__version__}
CROP_SCALE = (0.5, 1.0)  # of the image's area, as Tip-Adapter crops
CROP_RATIO = (3 / 4, 4 / 3)  # width over height
# Longer images are first cropped to this ratio of their sides, around the centre: the shorter side
# is resized to the tower's input, and the longer side would grow with it.
LONGEST_RATIO = 16


class Views:
    r"""The views of an image: first the image itself, then augmented versions.

    View 0 is the image as the model's own processor prepares it. Every further view is a random
    crop of :math:`0.5` to :math:`1` of its area, resized to the tower's input and flipped with
    probability :math:`0.5`. The crops depend on the seed, the image's content and the number of the
    view only, not on the order of the images.

    Pixels stay bytes until they are on the device, and are rescaled and normalised there, if the
    processor does nothing else; this is checked on an image of noise.

    Args:
        processor (transformers.BaseImageProcessor): The model's image processor.
        views (int, optional): The number of views :math:`V`. (default: :obj:`1`)
        seed (int, optional): Seeds the augmented views. (default: :obj:`0`)

    Raises:
        ValueError: If there is no view.
    """

    def __init__(self, processor: Any, views: int = 1, seed: int = 0) -> None:
        if views < 1:
            raise ValueError(f"'views' must be at least 1 (got {views}).")
        self.processor, self.views, self.seed = processor, views, seed
        noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        image = Image.fromarray(noise)
        whole = processor(images=[image], return_tensors="pt")
        pixels = whole["pixel_values"]
        self.size = (pixels.size(3), pixels.size(2)) if pixels.dim() == 4 else None
        self.rescale = self._rescale_of(image, whole)

    def _rescale_of(self, image: Image.Image, whole: BatchFeature) -> tuple[Tensor, Tensor] | None:
        """Factor and shift ``[3, 1, 1]`` for bytes, if the processor does nothing else."""
        if self.size is None or set(whole) != {"pixel_values"}:
            return None
        mean = getattr(self.processor, "image_mean", None)
        std = getattr(self.processor, "image_std", None)
        factor = getattr(self.processor, "rescale_factor", None)
        if mean is None or std is None or factor is None:
            return None
        std, mean = torch.tensor(std).view(3, 1, 1), torch.tensor(mean).view(3, 1, 1)
        rescale = (factor / std, -mean / std)
        pixels = self._bytes_of([image])
        if pixels.dtype != torch.uint8:
            return None
        same = torch.allclose(_rescaled(pixels, rescale), whole["pixel_values"], atol=1e-5)
        return rescale if same else None

    def _bytes_of(self, images: list[Image.Image]) -> Tensor:
        inputs = self.processor(
            images=images, do_rescale=False, do_normalize=False, return_tensors="pt"
        )
        pixels: Tensor = inputs["pixel_values"]
        return pixels

    def describe(self) -> dict[str, Any]:
        """Everything that the pixels depend on, save the image, as plain JSON values."""
        settings = json.loads(self.processor.to_json_string())
        description = {
            "processor": type(self.processor).__name__,
            "processor_settings": sha256(json.dumps(settings, sort_keys=True).encode()),
            "processor_backend": getattr(self.processor, "backend", ""),
            **LIBRARIES,
            "views": self.views,
        }
        if description["processor_backend"] == "torchvision":
            description["torchvision"] = importlib.metadata.version("torchvision")
        if self.views > 1:
            description |= {"seed": self.seed, "crop_scale": CROP_SCALE, "crop_ratio": CROP_RATIO}
        return description

    def __call__(self, image: Image.Image, digest: bytes) -> dict[str, Tensor]:
        """The inputs of the tower, one row per view; the digest is the SHA-256 of the image."""
        image = _middle(image)
        augmented = [self._view(image, digest, view) for view in range(1, self.views)]
        if self.rescale is not None:
            return {"pixel_values": self._bytes_of([image, *augmented])}
        return dict(self.processor(images=[image, *augmented], return_tensors="pt"))

    def collate(self, inputs: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The inputs of images as a batch, with one row per view."""
        return {name: torch.cat([views[name] for views in inputs]) for name in inputs[0]}

    def _view(self, image: Image.Image, digest: bytes, view: int) -> Image.Image:
        generator = random.Random(f"{self.seed}/{view}/{digest.hex()}")
        box = _crop_box(image.width, image.height, generator)
        flip = generator.random() < 0.5
        if self.size is None:  # the processor takes any shape
            left, top, right, bottom = map(round, box)
            image = image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
        else:
            image = image.resize(self.size, Image.Resampling.BICUBIC, box=box)
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image

    def finish(self, inputs: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
        """Inputs on their device, rescaled and normalised, floating-point ones in ``dtype``."""
        finished = dict(inputs)
        if self.rescale is not None:
            finished["pixel_values"] = _rescaled(finished["pixel_values"], self.rescale)
        return {
            name: value.to(dtype) if value.is_floating_point() else value
            for name, value in finished.items()
        }


def _rescaled(pixels: Tensor, rescale: tuple[Tensor, Tensor]) -> Tensor:
    factor, shift = (constant.to(pixels.device) for constant in rescale)
    # The tower's weights are channels last, too:
    pixels = pixels.to(torch.float32, memory_format=torch.channels_last)
    return torch.addcmul(shift, pixels, factor)


def _middle(image: Image.Image) -> Image.Image:
    longest = LONGEST_RATIO * min(image.size)
    if max(image.size) <= longest:
        return image
    width, height = min(image.width, longest), min(image.height, longest)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _crop_box(
    width: int, height: int, generator: random.Random
) -> tuple[float, float, float, float]:
    """A crop of random area and ratio that fits into the image: left, top, right, bottom."""
    area = width * height * generator.uniform(*CROP_SCALE)
    ratio = math.exp(generator.uniform(*map(math.log, CROP_RATIO)))
    crop_width = max(1.0, min(math.sqrt(area * ratio), width))
    crop_height = max(1.0, min(math.sqrt(area / ratio), height))
    left = generator.uniform(0, width - crop_width)
    top = generator.uniform(0, height - crop_height)
    return left, top, left + crop_width, top + crop_height
