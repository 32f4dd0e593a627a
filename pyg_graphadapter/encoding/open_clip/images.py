"""Images as open_clip's evaluation transform prepares them."""

import json
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from transformers import BatchFeature

from pyg_graphadapter.encoding.open_clip.settings import OpenClipSettings

RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class OpenClipImageProcessor:
    """Resizes, crops or pads images to a square, and normalises them, as open_clip does.

    Args:
        size (int): The side of the square in pixels.
        mean (tuple of float): The mean per channel.
        std (tuple of float): The deviation per channel.
        interpolation (str, optional): ``bicubic`` or ``bilinear``. (default: :obj:`"bicubic"`)
        resize_mode (str, optional): The ``shortest`` side becomes the square's and the middle is
            cut out; the ``longest`` does and the rest is filled; or both are ``squash``-ed.
            (default: :obj:`"shortest"`)
        fill_color (int, optional): The grey value that fills. (default: :obj:`0`)
    """

    backend = "pil"
    rescale_factor = 1 / 255

    def __init__(
        self,
        size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        interpolation: str = "bicubic",
        resize_mode: str = "shortest",
        fill_color: int = 0,
    ) -> None:
        self.size, self.image_mean, self.image_std = size, list(mean), list(std)
        self.interpolation, self.resize_mode = interpolation, resize_mode
        self.fill_color = fill_color

    @classmethod
    def of(cls, settings: OpenClipSettings) -> "OpenClipImageProcessor":
        """The processor of a model."""
        stated = settings.preprocessing
        mean, std = (
            value if isinstance(value, tuple) else (value,) * 3
            for value in (stated.mean, stated.std)
        )
        interpolation = "bilinear" if stated.interpolation == "bilinear" else "bicubic"
        return cls(
            settings.image_size, mean, std, interpolation, stated.resize_mode, stated.fill_color
        )

    def to_json_string(self) -> str:
        """All settings, from which the pixels can be made elsewhere."""
        return json.dumps(
            {
                "image_processor_type": type(self).__name__,
                "size": self.size,
                "image_mean": self.image_mean,
                "image_std": self.image_std,
                "rescale_factor": self.rescale_factor,
                "interpolation": self.interpolation,
                "resize_mode": self.resize_mode,
                "fill_color": self.fill_color,
            },
            sort_keys=True,
        )

    def __call__(
        self,
        images: list[Image.Image],
        *,
        do_rescale: bool = True,
        do_normalize: bool = True,
        return_tensors: str = "pt",
    ) -> Any:
        """The pixels ``[N, 3, S, S]`` of images, as ``pixel_values``."""
        squares = [self.square(image).convert("RGB") for image in images]
        arrays = np.stack([np.asarray(square, dtype=np.uint8) for square in squares])
        pixels: Tensor = torch.from_numpy(arrays).permute(0, 3, 1, 2).contiguous()
        if do_rescale:
            pixels = pixels.float() / 255
        if do_normalize:
            mean, std = (torch.tensor(x).view(3, 1, 1) for x in (self.image_mean, self.image_std))
            pixels = (pixels - mean) / std
        return BatchFeature({"pixel_values": pixels})

    def square(self, image: Image.Image) -> Image.Image:
        """The part of an image that the tower sees."""
        width, height = image.size
        side = self.size
        if self.resize_mode == "squash":
            return self._resized(image, side, side)
        if self.resize_mode == "longest":
            ratio = max(height / side, width / side)
            image = self._resized(image, round(width / ratio), round(height / ratio))
            return _cropped(self._padded(image), side)
        if width <= height:
            return _cropped(self._resized(image, side, int(side * height / width)), side)
        return _cropped(self._resized(image, int(side * width / height), side), side)

    def _resized(self, image: Image.Image, width: int, height: int) -> Image.Image:
        size = (max(width, 1), max(height, 1))
        return image if image.size == size else image.resize(size, RESAMPLING[self.interpolation])

    def _padded(self, image: Image.Image) -> Image.Image:
        across, down = (max(self.size - length, 0) for length in image.size)
        if not across and not down:
            return image
        border = (across // 2, down // 2, (across + 1) // 2, (down + 1) // 2)
        fill: Any = (self.fill_color,) * 3 if image.mode == "RGB" else self.fill_color
        return ImageOps.expand(image, border, fill=fill)


def _cropped(image: Image.Image, side: int) -> Image.Image:
    """The middle of an image; half pixels are rounded to even, as torchvision does."""
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return image.crop((left, top, left + side, top + side))
