"""``python -m pyg_graphadapter.cli``."""

from pyg_graphadapter.cli import main

main()
