"""Features in the files that people have, made into one feature file."""

from pyg_graphadapter.importing.assemble import Imported, import_features
from pyg_graphadapter.importing.readers import READERS

__all__ = ["READERS", "Imported", "import_features"]
