"""The command ``graphadapter``, also ``python -m pyg_graphadapter``."""

import sys

from pyg_graphadapter.display import escape_in_streams
from pyg_graphadapter.interrupts import end_at_signals
from pyg_graphadapter.optional import MissingPackageError, explained


def main() -> None:
    """Runs the command line, in a process of its own: Ctrl-C ends it at any moment."""
    end_at_signals()
    escape_in_streams()
    try:
        with explained():
            from pyg_graphadapter import cli
    except MissingPackageError as error:
        sys.exit(f"Error: {error}")
    cli.main()


if __name__ == "__main__":
    main()
