"""Formulas as MathML, by docutils: browsers draw them without a script and without a network."""

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def mathml(formula: str, node: nodes.Element, *, as_block: bool) -> str:
    """One formula as MathML; what cannot be read is an error of the build."""
    try:
        if as_block and r"\\" in formula and r"\begin{" not in formula:
            formula = rf"\begin{{align*}}{formula}\end{{align*}}"
        return str(latex2mathml.tex2mathml(formula.strip(), as_block))
    except MathError as error:
        logger.warning("The formula %r cannot be read: %s", formula, error, location=node)
        return formula


def visit_math(translator: Any, node: nodes.math) -> None:
    """Writes a formula inside a line."""
    translator.body.append(mathml(node.astext(), node, as_block=False))
    raise nodes.SkipNode


def visit_math_block(translator: Any, node: nodes.math_block) -> None:
    """Writes a formula of its own."""
    formula = mathml(node.astext(), node, as_block=True)
    translator.body.append(f'<div class="math-block">{formula}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Adds the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
