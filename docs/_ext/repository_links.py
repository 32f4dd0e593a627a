"""Links in pages that include a file of the repository: they are relative to that file."""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
INCLUDE = re.compile(r"^```\{include\} (\S+)$", re.MULTILINE)


def pages(source: Path) -> dict[Path, Path]:
    """The page that shows each included file; the first one where there are several."""
    including: dict[Path, Path] = {}
    for page in sorted(source.rglob("*.md")):
        for target in INCLUDE.findall(page.read_text(encoding="utf-8")):
            including.setdefault((page.parent / target).resolve(), page)
    return including


def rewritten(text: str, file: Path, page_folder: Path, including: dict[Path, Path]) -> str:
    """The text of a file with links that work from another folder."""

    def link(match: re.Match[str]) -> str:
        mark, words, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        path, _, anchor = target.partition("#")
        file_there = (file.parent / path).resolve()
        if file_there.is_dir() and (file_there / "README.md") in including:
            file_there = file_there / "README.md"
        if file_there in including:
            file_there = including[file_there]
        elif file_there.is_dir() or not file_there.exists():
            return words  # a folder of the repository is no page
        relative = os.path.relpath(file_there, page_folder)
        anchored = f"#{anchor}" if anchor and file_there.suffix == ".md" else ""
        return f"{mark}[{words}]({relative}{anchored})"

    return LINK.sub(link, text)


def rewrite(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    """Rewrites the links of a file that is read by an include."""
    file = (Path(app.srcdir) / path).resolve()
    folder = Path(app.env.doc2path(app.env.docname)).parent
    content[0] = rewritten(content[0], file, folder, pages(Path(app.srcdir)))


def setup(app: Sphinx) -> dict[str, bool]:
    """Connects the links with what is included."""
    app.connect("include-read", rewrite)
    return {"parallel_read_safe": True}
