"""Prints the lower bound of every requirement in setup.cfg as an exact version, one per line:

    python scripts/lowest_versions.py test > lowest.txt && pip install -r lowest.txt

The arguments are extras, whose requirements are printed after those of the package.
"""

import configparser
import sys
from pathlib import Path

SETUP = Path(__file__).parents[1] / "setup.cfg"


def lowest_versions(extras: list[str]) -> list[str]:
    """The requirements of the package and of some extras, as ``name==version``."""
    parser = configparser.ConfigParser()
    parser.read(SETUP, encoding="utf-8")
    groups = [parser["options"]["install_requires"]]
    groups += [parser["options.extras_require"][extra] for extra in extras]
    lines = [line for group in groups for line in group.split("\n") if line.strip()]
    for line in lines:
        if line.count(">=") != 1:
            raise ValueError(f"The requirement {line!r} in setup.cfg has no lower bound.")
    return [line.replace(">=", "==") for line in lines]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lowest_versions(sys.argv[1:])) + "\n")
