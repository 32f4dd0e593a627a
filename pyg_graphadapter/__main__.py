"""``python -m pyg_graphadapter``: the command line."""

from pyg_graphadapter.cli import main

if __name__ == "__main__":
    main()
