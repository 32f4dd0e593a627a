"""Descriptions of classes: sentences about each class, as language models write them."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias

from pyg_graphadapter.data.class_names import normalize_class_name
from pyg_graphadapter.data.templates import fill
from pyg_graphadapter.settings import warn
from pyg_graphadapter.storage import FileKind, Length, checked, read, sha256

DESCRIPTIONS_WEIGHT = 0.5  # half the templates, half the descriptions
SHOWN_NAMES = 5
COMPARED_NAMES = (50, 1000)  # of classes and of entries, since comparing all takes long
COMPARED = 100  # characters of a name
LIKENESS = 0.75  # of names of which one may stand for the other, in difflib's ratio

Sentence = Annotated[str, Length(1)]
SCHEMA = dict[Annotated[str, Length(1)], tuple[Sentence, ...] | Sentence]
DESCRIPTIONS_FILE: FileKind[dict[str, tuple[str, ...] | str]] = FileKind(
    "file of descriptions",
    SCHEMA,
    'Write a table of classes, each with a list of sentences: {"cat": ["A cat has whiskers."]}',
    suffixes=(".json",),
)


@dataclass(frozen=True)
class Descriptions:
    """Sentences about classes. A sentence may have ``{}`` for the name of its class, and may do
    without. A sentence that a class has twice counts once.

    Args:
        entries (tuple): The name of each class with its sentences.
        origin (str): What messages call them. (default: :obj:`"the table of descriptions"`)
        is_matched (bool): Whether the names are those of the classes of a data set already
            (:meth:`matched`). (default: :obj:`False`)

    Example:
        >>> table = Descriptions.of({"Tabby Cat": ["A {} has stripes.", "It has whiskers."]})
        >>> table.matched(["tabby_cat"], weight=1).prompts(["tabby_cat"])
        [['A tabby cat has stripes.', 'It has whiskers.']]
    """

    entries: tuple[tuple[str, tuple[str, ...]], ...]
    origin: str = field(default="the table of descriptions", compare=False)
    is_matched: bool = field(default=False, compare=False)

    @classmethod
    def of(
        cls, table: Mapping[str, Sequence[str] | str], origin: str = "the table of descriptions"
    ) -> Self:
        """Descriptions from a table of classes, each with a list of sentences, or with one.

        Raises:
            ValueError: If it is no such table, or a sentence is blank.
        """
        plain = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in (table.items() if isinstance(table, Mapping) else ())
        }
        content = checked(plain if isinstance(table, Mapping) else table, SCHEMA, origin)
        return cls._of_content(content, origin)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Descriptions from a JSON file.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it cannot be read, or does not hold such a table.
        """
        return cls._of_content(read(path, DESCRIPTIONS_FILE), str(path))

    @classmethod
    def _of_content(cls, content: Mapping[str, tuple[str, ...] | str], origin: str) -> Self:
        entries, num_repeated = [], 0
        for name, value in content.items():
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"{origin} has a class without a name (got {name!r}): name it.")
            lines = [
                " ".join(line.split()) for line in ((value,) if isinstance(value, str) else value)
            ]
            if not all(lines):
                raise ValueError(
                    f"{origin} has a blank sentence about {name!r}: write it or leave it out."
                )
            if any("\ud800" <= char <= "\udfff" for line in lines for char in line):
                raise ValueError(
                    f"{origin} has a sentence about {name!r} that is not Unicode: write it again."
                )
            sentences = tuple(dict.fromkeys(lines))
            num_repeated += len(lines) - len(sentences)
            entries.append((name, sentences))
        if num_repeated:
            warn(f"{origin} repeats {num_repeated} of its sentences within a class: each counts "
                 f"once.")  # fmt: skip
        return cls(tuple(entries), origin)

    @cached_property
    def sentences(self) -> dict[str, tuple[str, ...]]:
        """The sentences of every class that has some."""
        return {name: lines for name, lines in self.entries if lines}

    @property
    def digest(self) -> str:
        """The SHA-256 of names and sentences, whatever the order of the classes."""
        return sha256(json.dumps(sorted(self.entries)).encode())

    def matched(
        self,
        class_names: Sequence[str],
        weight: float = DESCRIPTIONS_WEIGHT,
        others: Sequence[str] = (),
    ) -> Self:
        """The descriptions under the names of classes. A name is matched exactly, or else, where
        only one fits, without regard to case, spaces, ``_`` and ``-``. Says which names match no
        class, and which classes have no descriptions.

        Args:
            class_names (sequence of str): The names of the classes.
            weight (float, optional): The weight of the descriptions; with 1, every class needs
                some. (default: :obj:`0.5`)
            others (sequence of str, optional): Further names that may be described, of which
                nothing is said. (default: :obj:`()`)

        Raises:
            ValueError: If none matches, two names fit one class or two classes one name, or a class
                has none and needs some.
        """
        entry_of = (
            {name: name for name in class_names if name in self.sentences}
            if self.is_matched
            else _match(list(self.sentences), class_names, self.origin)
        )
        lacking = [name for name in class_names if name not in entry_of]
        forms = set(map(_form, others))
        unused = {
            entry
            for entry in self.sentences.keys() - set(entry_of.values())
            if _form(entry) not in forms
        }
        if not self.is_matched:
            hints = _hints(sorted(unused), lacking)
            self._check_matches(entry_of, class_names, hints)
            if unused:
                warn(f"{self.origin} describes {_counted(len(unused))} that "
                     f"{'is' if len(unused) == 1 else 'are'} not there: {hints}.")  # fmt: skip
        if lacking:
            self._tell_lacking(lacking, len(class_names), weight)
        entries = tuple((name, self.sentences[entry]) for name, entry in entry_of.items())
        return type(self)(entries, self.origin, is_matched=True)

    def _check_matches(
        self, entry_of: Mapping[str, str], class_names: Sequence[str], hints: str
    ) -> None:
        if not self.sentences:
            raise ValueError(f"{self.origin} has no sentences: write some for every class.")
        if not entry_of:
            raise ValueError(
                f"{self.origin} describes none of the {len(class_names)} classes "
                f"({_listed(class_names)}) but {hints}: use the names of the classes."
            )

    def _tell_lacking(self, lacking: Sequence[str], num_classes: int, weight: float) -> None:
        who = (
            f"{len(lacking)} of {_counted(num_classes)} "
            f"{'has' if len(lacking) == 1 else 'have'} no descriptions in {self.origin} "
            f"({_listed(lacking)})"
        )
        if weight == 1:
            raise ValueError(
                f"{who}, and nothing else stands for them: describe them, or give the descriptions "
                f"a weight below 1, which leaves the templates in."
            )
        if not self.is_matched:
            warn(f"{who}: the templates alone stand for them.")

    def prompts(self, class_names: Sequence[str]) -> list[list[str]]:
        """The sentences of every class with its name put in; none for a class without some."""
        return [
            [_filled(line, name) for line in self.sentences.get(name, ())] for name in class_names
        ]


DescriptionsLike: TypeAlias = Descriptions | Mapping[str, Sequence[str] | str] | str | Path


def descriptions_of(value: Any) -> Descriptions | None:
    """Descriptions from a table, from the path of a JSON file, or as they are.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If they are not as they must be.
    """
    if value is None or isinstance(value, Descriptions):
        return value
    return Descriptions.read(value) if isinstance(value, str | Path) else Descriptions.of(value)


def _filled(sentence: str, class_name: str) -> str:
    return sentence.replace("{}", fill("{}", class_name)) if "{}" in sentence else sentence


def _match(entries: Sequence[str], class_names: Sequence[str], origin: str) -> dict[str, str]:
    """The entry of each class that has one."""
    known = set(entries)
    matches = {name: name for name in class_names if name in known}
    by_form: dict[str, list[str]] = {}
    for name in class_names:
        by_form.setdefault(_form(name), []).append(name)
    for entry in entries:
        if entry in matches:
            continue
        fitting = by_form.get(_form(entry), [])
        if len(fitting) > 1:
            raise ValueError(
                f"{origin} describes {entry!r}, which may be {_listed(fitting, ' or ')}: use the "
                f"name of one of them."
            )
        for name in fitting:
            if name in matches:
                raise ValueError(
                    f"{origin} describes the class {name!r} twice, as {matches[name]!r} and as "
                    f"{entry!r}: write all of its sentences in one list."
                )
            matches[name] = entry
    return {name: matches[name] for name in class_names if name in matches}


def _form(name: str) -> str:
    return normalize_class_name(name).replace(" ", "")


def _hints(unused: Sequence[str], lacking: Sequence[str]) -> str:
    """Names that match no class, those first that are like the name of a class without one."""
    by_form = {_form(entry)[:COMPARED]: entry for entry in unused[: COMPARED_NAMES[1]]}
    near: dict[str, str] = {}
    for name in lacking[: COMPARED_NAMES[0]]:
        for form in difflib.get_close_matches(
            _form(name)[:COMPARED], by_form, n=1, cutoff=LIKENESS
        ):
            near.setdefault(by_form[form], name)
    listed = sorted(unused, key=lambda entry: entry not in near)
    texts = [
        f"{_short(entry)} (meant as {_short(near[entry])}?)" if entry in near else _short(entry)
        for entry in listed[:SHOWN_NAMES]
    ]
    return ", ".join(texts) + (", …" if len(listed) > SHOWN_NAMES else "")


def _listed(names: Sequence[str], joint: str = ", ") -> str:
    return joint.join(map(_short, names[:SHOWN_NAMES])) + (", …" * (len(names) > SHOWN_NAMES))


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:59]}…")


def _counted(number: int) -> str:
    return f"{number} class{'es' if number != 1 else ''}"
