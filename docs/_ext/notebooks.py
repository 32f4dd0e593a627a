"""The tutorials as notebooks, made by jupytext when the documentation is built."""

import re
from pathlib import Path
from typing import Any

import jupytext
from myst_nb.core import render
from sphinx.application import Sphinx


def write_notebooks(app: Sphinx) -> None:
    """Writes ``_notebooks/NAME.ipynb`` for every tutorial, before the pages are read."""
    folder = Path(app.srcdir) / "_notebooks"
    folder.mkdir(exist_ok=True)
    for path in sorted((Path(app.srcdir) / "tutorials").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if "{code-cell}" in text:
            notebook = jupytext.reads(text, fmt="md:myst")
            for cell in notebook.cells:
                if cell.cell_type == "markdown":
                    cell.source = without_pages(cell.source, path.parent)
            content = jupytext.writes(notebook, fmt="ipynb")
            target = folder / f"{path.stem}.ipynb"
            if not target.exists() or target.read_text(encoding="utf-8") != content:
                target.write_text(content, encoding="utf-8")


def without_pages(text: str, folder: Path) -> str:
    """Text that can be read where the other pages are not: of a link to one, its text or the title
    of the page stays."""
    text = re.sub(r"^\*This page is a notebook.*\*\n+", "", text, flags=re.MULTILINE)

    def words(link: re.Match[str]) -> str:
        return link[1] or title_of(folder / link[2])

    return re.sub(r"(?<!!)\[([^]]*)\]\(((?!\w+:)[^)#]+\.md)[^)]*\)", words, text)


def title_of(page: Path) -> str:
    """The first heading of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return next(line[2:] for line in lines if line.startswith("# "))


def joined(outputs: list[Any]) -> list[Any]:
    """The outputs of a cell with one text of what was done, and one of the result. A command prints
    in pieces, which need not end where a line ends."""
    streams: dict[str, Any] = {}
    others = []
    for output in outputs:
        if output["output_type"] != "stream":
            others.append(output)
        elif output["name"] in streams:
            streams[output["name"]]["text"] += output["text"]
        else:
            streams[output["name"]] = output
    return [streams[name] for name in ("stderr", "stdout") if name in streams] + others


def setup(app: Sphinx) -> dict[str, bool]:
    """Connects the notebooks with the build."""
    render.coalesce_streams = joined  # myst-nb's begins a line with every piece
    app.connect("builder-inited", write_notebooks)
    return {"parallel_read_safe": True}
