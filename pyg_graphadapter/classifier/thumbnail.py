"""Small pictures of images, as text that a page can hold."""

import base64
import io
from typing import Any

PIXELS = 128  # of the longer side
QUALITY = 80


def thumbnail(image: Any) -> str | None:
    """A JPEG in base64 of at most 128 pixels a side, turned as its EXIF orientation says;
    :obj:`None` if it cannot be decoded any more.

    Args:
        image: As for :func:`pyg_graphadapter.data.decode_image`.
    """
    from pyg_graphadapter.data import UnreadableImageError, decode_image  # loads PIL

    try:
        picture = decode_image(image)
    except UnreadableImageError:
        return None
    picture.thumbnail((PIXELS, PIXELS))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY)
    return base64.b64encode(stream.getvalue()).decode()
