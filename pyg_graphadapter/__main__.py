"""The command ``graphadapter``, also ``python -m pyg_graphadapter``."""

import sys

from pyg_graphadapter.display import escape_in_streams
from pyg_graphadapter.optional import MissingPackageError, explained


def main() -> None:
    """Runs the command line; Ctrl-C while it starts ends it quietly."""
    escape_in_streams()
    try:
        try:
            with explained():
                from pyg_graphadapter import cli
        except MissingPackageError as error:
            sys.exit(f"Error: {error}")
        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
