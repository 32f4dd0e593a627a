"""Names that mean splits, in any case and in several languages."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

SPLITS = ("train", "val", "test")
# As train=a,test=b, or the name or names in the source by split:
SplitOption: TypeAlias = str | Mapping[str, str | Sequence[str]]
# Of folders, of splits of data sets, and of the cells of a column; plain letters only:
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trn", "trainset", "trainingset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), "val"),
    **dict.fromkeys(("valset", "validset", "validationset", "devset"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "testset", "testingset"), "test"),
    **dict.fromkeys(("eval", "evaluation", "evalset", "evaluationset"), "test"),
    "entrainement": "train", "apprentissage": "train", "entrenamiento": "train",
    "validierung": "val", "validacion": "val", "prueba": "test", "pruebas": "test",
    "trainingsdaten": "train", "trainingsbilder": "train", "validierungsdaten": "val",
    "validierungsbilder": "val", "testdaten": "test", "testbilder": "test",
    "treino": "train", "treinamento": "train", "validacao": "val", "teste": "test",
    "addestramento": "train", "convalida": "val", "validazione": "val", "prova": "test",
    "训练": "train", "训练集": "train", "验证": "val", "验证集": "val", "测试": "test",
    "测试集": "test", "訓練": "train", "学習": "train", "検証": "val", "テスト": "test",
    "обучение": "train", "валидация": "val", "тест": "test",
}  # fmt: skip
# They mean the test split, or validation where there is another test split:
EITHER = ("eval", "evaluation", "evalset", "evaluationset")
CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")
WORD = re.compile(r"[^\W\d_]+")
FURTHER_WORDS = re.compile(r"[_\-\s.](data|dataset|images|imgs|set|split|folder)$")


def plain(name: str) -> str:
    """A name in lower case without accents, and without blanks and signs around it."""
    letters = unicodedata.normalize("NFKD", name.strip().casefold())
    return "".join(char for char in letters if not unicodedata.combining(char))


def split_meant(name: str) -> str | None:
    """The split that a name means: ``val`` of ``Validation``, ``test`` of ``test_images``."""
    return SPLIT_NAMES.get(FURTHER_WORDS.sub("", plain(name)))


def split_and_words(name: str) -> tuple[str | None, tuple[str, ...]]:
    """The only split that a word in a name means, and the words around it: ``train`` and ``seg`` of
    ``seg_train`` and ``SegTrain2``."""
    words = [plain(word) for word in WORD.findall(CAMEL_CASE.sub(" ", name))]
    splits = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
    around = tuple(word for word in words if word not in SPLIT_NAMES)
    return (splits.pop() if len(splits) == 1 else None), around


def differ_in_split(names: Iterable[str]) -> list[dict[str, str]]:
    """Groups of names that differ in a word for a split alone, as ``seg_train`` and ``seg_test``,
    each with the splits that they mean."""
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        split, around = split_and_words(name)
        if split is not None:
            groups.setdefault(around, {})[name] = split
    return [group for group in groups.values() if len(set(group.values())) > 1]


def split_choices(option: SplitOption | None) -> dict[str, str]:
    """The names of splits that a user chose, as ``{"a": "train", "b": "test"}`` of
    ``train=a,test=b``.

    Raises:
        ValueError: If it is of another form.
    """
    if option is None:
        return {}
    if isinstance(option, Mapping):
        pairs = [
            (str(split), str(name))
            for split, names in option.items()
            for name in ([names] if isinstance(names, str) else names)
        ]
    else:
        parts = [part.partition("=") for part in str(option).split(",") if part.strip()]
        pairs = [(split, name if sign else "") for split, sign, name in parts]
    choices: dict[str, str] = {}
    for split, name in pairs:
        meant = split_meant(split)
        if meant is None or not name.strip() or choices.get(name.strip(), meant) != meant:
            raise ValueError(
                f"'split' takes names of the source for train, val and test, as train=a,test=b "
                f"(got {option!r})."
            )
        choices[name.strip()] = meant
    return choices


class SplitNames:
    """Which split the names in a source mean.

    Args:
        option (str or dict, optional): What the user says, as ``train=a,test=b``; it decides about
            the splits that it names. (default: :obj:`None`)
    """

    def __init__(self, option: SplitOption | None = None) -> None:
        self.choices = split_choices(option)

    def meant(self, name: str) -> str | None:
        """The split that one name means."""
        if name.strip() in self.choices:
            return self.choices[name.strip()]
        split = split_meant(name)
        return None if split in self.choices.values() else split

    def resolve(self, names: Iterable[str], where: str) -> dict[str, str]:
        """The splits that names mean; names that mean none are left out.

        Raises:
            ValueError: If two different names mean one split, or one that was chosen is not there.
        """
        names = list(dict.fromkeys(names))
        for choice in self.choices:
            if choice not in (name.strip() for name in names):
                raise ValueError(
                    f"{where} has no {choice!r}, which --split (split=…) names: it has "
                    f"{', '.join(map(repr, names[:12])) or 'no splits'}."
                )
        splits = {name: split for name in names if (split := self.meant(name)) is not None}
        for name in [name for name in splits if FURTHER_WORDS.sub("", plain(name)) in EITHER]:
            others = [split for other, split in splits.items() if other != name]
            if name.strip() not in self.choices and "test" in others and "val" not in others:
                splits[name] = "val"
        for split in SPLITS:
            same = [
                name for name, meant in splits.items()
                if meant == split and name.strip() not in self.choices
            ]  # fmt: skip
            if len({plain(name) for name in same}) > 1:
                raise ValueError(
                    f"{where} has {' and '.join(map(repr, same))}, which both mean the split "
                    f"{split}: choose with --split {split}={same[0]} (split='{split}={same[0]}')."
                )
        return splits
