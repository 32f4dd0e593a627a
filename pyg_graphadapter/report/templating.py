"""Pages from templates: one self-contained file each, which loads nothing from elsewhere."""

import base64
import functools
import hashlib
import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pyg_graphadapter.display import visible

TEMPLATES = Path(__file__).parent / "templates"
SCRIPT = "page.js"
LONGEST_NAME = 60


def render(template: str, **content: Any) -> str:
    """A page from a template.

    What comes from outside is escaped, and what cannot be seen of it is shown as an escape. The
    page allows its own script alone (a content security policy), and no connection.

    Args:
        template (str): The name of a file in ``templates``.
        **content (any): What the template shows.

    Raises:
        ValueError: If the template would show :obj:`None` or a number that is not finite.
    """
    environment = _environment()
    script = (TEMPLATES / SCRIPT).read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template(template).render(**content, script=script, script_hash=digest)
    return f"{page}\n"


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = short
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    return environment


def short(name: str) -> str:
    """A name of at most 60 characters, visible; what is longer ends in dots."""
    text = visible(name)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _shown(value: Any) -> Any:
    """What a page shows of a value."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"A page cannot show the value {value}.")
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return visible(value)
    return value
