"""The one way to read and to write a file: declared schemas, and writes that are whole or not
there."""

from pyg_graphadapter.storage.read import FileKind, open_regular, parsed, read, read_content
from pyg_graphadapter.storage.schema import (
    Array,
    Arrays,
    ContentError,
    Length,
    OneOf,
    SchemaError,
    Within,
    checked,
)
from pyg_graphadapter.storage.write import (
    prepare_folder,
    remove_leftovers,
    sha256,
    sync_folder,
    versions,
    write_atomic,
    write_output,
)

__all__ = [
    "Array",
    "Arrays",
    "ContentError",
    "FileKind",
    "Length",
    "OneOf",
    "SchemaError",
    "Within",
    "checked",
    "open_regular",
    "parsed",
    "prepare_folder",
    "read",
    "read_content",
    "remove_leftovers",
    "sha256",
    "sync_folder",
    "versions",
    "write_atomic",
    "write_output",
]
