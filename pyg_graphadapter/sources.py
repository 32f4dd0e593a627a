"""Where features come from: the public names of :mod:`pyg_graphadapter.encoding` for it."""

from typing import TYPE_CHECKING

from pyg_graphadapter.lazy import lazy_names

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.image_source import ImageSource
    from pyg_graphadapter.encoding.sources import (
        FileSource,
        Source,
        evaluation_tasks,
        open_source,
    )

__all__ = ["FileSource", "ImageSource", "Source", "evaluation_tasks", "open_source"]

__getattr__, __dir__ = lazy_names(
    "pyg_graphadapter",
    {
        "FileSource": "encoding.sources",
        "ImageSource": "encoding.image_source",
        "Source": "encoding.sources",
        "evaluation_tasks": "encoding.sources",
        "open_source": "encoding.sources",
    },
)
