"""The files of a folder from outside: which of them are read."""

import os
import stat
from pathlib import Path

from pyg_graphadapter.data.reading import Reading
from pyg_graphadapter.storage import open_regular

MAX_BYTES = 2**30  # of an image file
LINKS = "links that lead out of the folder, which --follow-links (follow_links=True) follows"


class Links:
    """Decides which links in a folder are followed: those that stay inside it, unless all are asked
    for. Those that are left out are counted.

    Args:
        root (Path): The folder, which may be a link itself.
        follow (bool, optional): Follow all links. (default: :obj:`False`)
    """

    def __init__(self, root: Path, *, follow: bool = False) -> None:
        self.root, self.follow = root, follow
        self._real_root = os.path.realpath(root)
        self.left_out: list[Path] = []
        self._inside: dict[Path, bool] = {}  # by folder

    def is_followed(self, path: Path) -> bool:
        """Whether a path is no link, or a link that is followed."""
        if self.follow or not path.is_symlink() or self.is_inside(path):
            return True
        self.left_out.append(path)
        return False

    def is_way_followed(self, path: Path) -> bool:
        """As :meth:`is_followed`, of a path whose folders may be links, too."""
        if path.parent not in self._inside:
            self._inside[path.parent] = self.follow or self.is_inside(path.parent)
        return self._inside[path.parent] and self.is_followed(path)

    def is_inside(self, path: Path) -> bool:
        """Whether a path leads to a place in the folder."""
        return Path(os.path.realpath(path)).is_relative_to(self._real_root)

    def check_folder(self, path: Path) -> None:
        """Refuses the folder of a class or of a split that lies elsewhere.

        Raises:
            ValueError: If it is a link that leads out of the folder.
        """
        if not self.follow and not self.is_inside(path):
            raise ValueError(
                f"The folder {path} is a link to {os.path.realpath(path)}, which is outside of "
                f"{self.root}: ask for such links (--follow-links, follow_links=True), or copy it."
            )

    def report(self, reading: Reading) -> None:
        """Counts the links that were left out."""
        for path in self.left_out:
            reading.leave_out(LINKS, path)


def check_regular(path: str | Path) -> None:
    """Refuses what would be waited for: pipes, sockets and devices.

    Raises:
        ValueError: If the path is that of such a file.
    """
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return  # whoever opens it says why it cannot be read
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError(
            f"{path} is not a regular file but a pipe, a socket or a device: give a file."
        )


def read_regular(path: str | Path) -> bytes:
    """The content of a regular file; nothing else is waited for.

    Raises:
        OSError: If it cannot be read, is no regular file, or is larger than a gigabyte.
    """
    with open_regular(path, MAX_BYTES) as file:
        return file.read()
