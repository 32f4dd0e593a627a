"""The command ``graphadapter``, also ``python -m pyg_graphadapter``."""

import sys


def main() -> None:
    """Runs the command line; Ctrl-C while it starts ends it quietly."""
    try:
        from pyg_graphadapter.cli import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
