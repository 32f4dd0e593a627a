"""Puts class names into prompts."""

import re
from collections.abc import Sequence

WORDNET_ID = re.compile(r" \(n\d{8}\)$")  # follows the second of two equal class names
TEMPLATES = ("a photo of a {}.",)
# The seven templates that CLIP's authors found best on ImageNet:
IMAGENET_TEMPLATES = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


def check_templates(templates: Sequence[str]) -> None:
    """Checks that every template has exactly one place for the class name.

    Raises:
        ValueError: If there is no template, or a template does not have exactly one ``{}``.
    """
    if len(templates) == 0:
        raise ValueError("There must be at least one template, such as 'a photo of a {}.'.")
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(
                f"A template needs one {{}} for the class name (got {template!r}): write it as "
                f"'a photo of a {{}}.'."
            )


def fill(template: str, class_name: str) -> str:
    """Puts a class name into a template, with spaces for ``_``.

    Raises:
        ValueError: If the template does not have exactly one ``{}``, or the name is empty.

    Example:
        >>> fill("a photo of a {}.", "apple_pie")
        'a photo of a apple pie.'
    """
    check_templates([template])
    name = " ".join(WORDNET_ID.sub("", class_name).replace("_", " ").split())
    if not name:
        raise ValueError(f"A class name is empty (got {class_name!r}): give every class a name.")
    return template.replace("{}", name)


def prompts(class_names: Sequence[str], templates: Sequence[str] = TEMPLATES) -> list[list[str]]:
    """The prompts of every class, one per template: ``[C][T]``.

    Raises:
        ValueError: As :func:`fill` does.
    """
    check_templates(templates)
    return [[fill(template, name) for template in templates] for name in class_names]
