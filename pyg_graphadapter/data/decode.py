"""Decodes images of known formats up to a number of pixels, with one kind of error."""

import io
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from pyg_graphadapter.data.folder import read_regular
from pyg_graphadapter.optional import MissingPackageError, missing, require

# Decoders of other formats have a history of security holes, and photographs do not need them:
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif",
    ".heic", ".heif",
)  # fmt: skip
# Formats whose decoder may not be installed, by the brands in their first bytes:
BRANDS = {
    "AVIF": (b"avif", b"avis"),
    "HEIF": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
}  # an image of both kinds is AVIF, for whose files mif1 is common, too
MAX_BRANDS = 256  # bytes
MAX_PIXELS = 100_000_000
ORIENTATION = 0x0112  # the EXIF tag
WIDE_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


class UnreadableImageError(ValueError):
    """An image that cannot be decoded; the message names it and says why."""


def decode_image(image: Any, *, max_pixels: int = MAX_PIXELS, turn: bool = True) -> Image.Image:
    """Decodes an image to RGB, turned as its EXIF orientation says. An animation gives its
    first frame.

    Transparent pixels keep the colour under them, as in ``datasets`` and ``transformers``. Values
    of more than 8 bits are scaled so that the largest value becomes 255: the largest that 16 bits
    can hold or, for other types, the largest that occurs.

    Args:
        image: A path, encoded bytes, a PIL image, an array ``[H, W]`` or ``[H, W, C]`` of bytes, or
            ``{"bytes": …, "path": …}`` as in a column of ``datasets.Image(decode=False)``.
        max_pixels (int, optional): Larger images are refused before they are decoded.
            (default: :obj:`100_000_000`)
        turn (bool, optional): Turn it as its EXIF orientation says. (default: :obj:`True`)

    Raises:
        UnreadableImageError: If the image cannot be decoded, or is too large.
    """
    name = image_name(image)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about large images, which are refused below
            opened = _open(image)
        if opened.width * opened.height > max_pixels:
            raise UnreadableImageError(
                f"The image {name} has {opened.width} x {opened.height} pixels, but only "
                f"{max_pixels:,} are allowed: make it smaller."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata, which do not matter here
            opened.load()
            return _to_rgb(ImageOps.exif_transpose(opened) if turn else opened)
    except UnreadableImageError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(
            f"The image {name} has too many pixels ({error}), but only {max_pixels:,} are allowed: "
            f"make it smaller."
        ) from error
    except (
        OSError, ValueError, TypeError, SyntaxError, OverflowError, MemoryError, RuntimeError,
        MissingPackageError,
    ) as error:  # fmt: skip
        raise UnreadableImageError(
            f"The image {name} cannot be decoded ({_reason(error)}): replace or remove it."
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    return str(error).rstrip(".") or type(error).__name__


def size_and_mode(image: Any) -> tuple[int, int, str]:
    """Width, height (turned as its EXIF orientation says) and mode of an image, of which only the
    beginning is decoded.

    Args:
        image: As for :func:`decode_image`.

    Raises:
        UnreadableImageError: If it cannot be opened.
    """
    name = image_name(image)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = _open(image)
            is_turned = opened.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    except UnreadableImageError:
        raise
    except Exception as error:  # as many kinds as there are damages
        raise UnreadableImageError(
            f"The image {name} cannot be opened ({_reason(error)})."
        ) from error
    width, height = reversed(opened.size) if is_turned else opened.size
    return width, height, opened.mode


def image_bytes(image: Any) -> bytes:
    """The bytes that identify an image: its encoded bytes, or the pixels of a decoded image.

    Raises:
        UnreadableImageError: If its file cannot be read.
    """
    if isinstance(image, dict):
        image = image["bytes"] if image.get("bytes") is not None else image["path"]
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        try:
            return read_regular(image)
        except (OSError, ValueError) as error:  # ValueError of a path with a zero byte
            reason = getattr(error, "strerror", None) or str(error)
            raise UnreadableImageError(
                f"The image {image} cannot be read ({reason}): check its path."
            ) from error
    if isinstance(image, np.ndarray):
        return f"{image.dtype} {image.shape} ".encode() + image.tobytes()
    if isinstance(image, Image.Image):
        return f"{image.mode} {image.size} ".encode() + image.tobytes()
    raise UnreadableImageError(
        f"An image must be a path, bytes, a PIL image or an array (got {type(image).__name__})."
    )


def image_name(image: Any) -> str:
    """The path of an image, or its type if it has no path."""
    if isinstance(image, dict):
        image = image.get("path") or image.get("bytes")
    return str(image) if isinstance(image, str | Path) else f"<{type(image).__name__}>"


def _open(image: Any) -> Image.Image:
    if isinstance(image, Image.Image):
        return image.copy()
    if isinstance(image, np.ndarray):
        return Image.fromarray(image)
    content = image_bytes(image)
    return Image.open(io.BytesIO(content), formats=_formats_of(content))


def _formats_of(content: bytes) -> tuple[str, ...]:
    """The decoders that may read an image.

    Raises:
        MissingPackageError: If its format is known and its decoder is not installed.
    """
    if content[4:8] == b"ftyp":
        end = min(int.from_bytes(content[:4], "big"), len(content), MAX_BRANDS)
        brands = {content[8:12], *(content[i : i + 4] for i in range(16, end, 4))}
        for name, known in BRANDS.items():
            if not brands.isdisjoint(known):
                _check_decoder(name)
                return (name,)
    return FORMATS


@cache
def _check_decoder(name: str) -> None:
    """Registers the decoder of a format, or names what must be installed for it."""
    if name == "HEIF":
        try:
            require("pillow_heif").register_heif_opener()
        except MissingPackageError:
            raise missing("pillow_heif", "HEIC needs pillow-heif") from None
    elif not features.check("avif"):
        raise MissingPackageError("AVIF needs Pillow 11.3 or later: pip install -U Pillow.")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in WIDE_MODES:
        values = np.asarray(image, dtype=np.float64)
        largest = 65535.0 if image.mode.startswith("I") else float(values.max(initial=0.0))
        scaled = 255 * values / (largest if np.isfinite(largest) and largest > 0 else 1.0)
        image = Image.fromarray(np.nan_to_num(scaled).clip(0, 255).round().astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")
