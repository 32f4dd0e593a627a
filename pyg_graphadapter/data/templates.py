"""Class names put into prompts."""

import re
from collections.abc import Sequence

WORDNET_ID = re.compile(r" \(n\d{8}\)$")  # behind the second of two classes of one name
TEMPLATES = ("a photo of a {}.",)
# The seven that CLIP's authors found to serve best on ImageNet:
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
    """Refuses templates that have no place, or several, for the class name.

    Raises:
        ValueError: If there is no template, or one has not exactly one ``{}``.
    """
    if len(templates) == 0:
        raise ValueError("There must be at least one template, as 'a photo of a {}.' is.")
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(
                f"A template needs one {{}} for the class name (got {template!r}): write it as "
                f"'a photo of a {{}}.'."
            )


def fill(template: str, class_name: str) -> str:
    """A prompt: the class name in its template, with spaces for ``_``.

    Raises:
        ValueError: If the template has not one ``{}``, or the name is empty.

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
    """The prompts of every class, one a template: ``[C][T]``.

    Raises:
        ValueError: As :func:`fill` does.
    """
    check_templates(templates)
    return [[fill(template, name) for template in templates] for name in class_names]
