"""The tutorials as notebooks, made by jupytext when the documentation is built."""

from pathlib import Path

import jupytext
from sphinx.application import Sphinx


def write_notebooks(app: Sphinx) -> None:
    """Writes ``_notebooks/NAME.ipynb`` for every tutorial, before the pages are read."""
    folder = Path(app.srcdir) / "_notebooks"
    folder.mkdir(exist_ok=True)
    for path in sorted((Path(app.srcdir) / "tutorials").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if "{code-cell}" in text:
            notebook = jupytext.reads(text, fmt="md:myst")
            content = jupytext.writes(notebook, fmt="ipynb")
            target = folder / f"{path.stem}.ipynb"
            if not target.exists() or target.read_text(encoding="utf-8") != content:
                target.write_text(content, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connects the notebooks with the build."""
    app.connect("builder-inited", write_notebooks)
    return {"parallel_read_safe": True}
