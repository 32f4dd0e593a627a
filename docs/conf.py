"""How the documentation is built:

sphinx-build -W --keep-going -b html docs docs/_build/html
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]
# The tutorials are run by processes of their own, which call the command line, too:
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ["PYG_GRAPHADAPTER_CACHE"] = str(ROOT / "docs" / "_build" / "features")
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    "PYTHONWARNINGS": "ignore:IProgress not found",  # progress bars of notebooks are not needed
}

from pyg_graphadapter import __version__  # noqa: E402

project = "pyg_graphadapter"
author = "The pyg_graphadapter maintainers"
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
    "command_line",
    "mathml",
    "method_pages",
    "notebooks",
    "public_names",
    "repository_links",
]
exclude_patterns = ["_build", "_notebooks", "_ext"]
nitpicky = True  # a name of this package that does not exist is an error
nitpick_ignore_regex = [
    ("py:.*", r"(?!pyg_graphadapter).*"),
    ("py:(class|obj)", r".*\.(C|T)"),  # variables of types
]

# Terms of scikit-learn's glossary, and tables that a benchmark writes into its README:
suppress_warnings = ["ref.term", "myst.header"]

html_theme = "furo"
html_title = f"pyg_graphadapter {release}"
html_static_path = ["_static"]
html_css_files = ["wide_tables.css"]
html_theme_options = {"navigation_with_keys": True}
html_math_renderer = "mathml"  # needs no network to be read
html_show_sphinx = False
html_show_copyright = False

# The docstrings are those of PyG: sections Args and Shapes, `:obj:` for values.
napoleon_custom_sections = [("Shapes", "notes_style")]
napoleon_google_docstring = True
napoleon_numpy_docstring = True  # the estimator of scikit-learn
napoleon_use_ivar = True
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
maximum_signature_line_length = 88

myst_enable_extensions = ["amsmath", "attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_timeout = 240
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True
nb_render_markdown_format = "myst"
