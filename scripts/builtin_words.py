"""Words of WordNet, and phrases of them to learn from.

Not run by itself: ``build_builtin_model.py`` imports it.
"""

import math
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# WordNet's files of nouns whose things can be seen (lexnames.5WN): animal, artifact, body, food,
# object, person, plant, phenomenon, shape, substance.
VISIBLE = (5, 6, 8, 13, 17, 18, 20, 19, 25, 27)
# Those of artifacts, objects, shapes and substances, which a surface can have on it.
SURFACE = (6, 17, 25, 27)


@dataclass(frozen=True)
class Synset:
    """A meaning of WordNet: its words, what it is a kind of, its definition.

    Args:
        file (int): The number of the lexicographer's file.
        words (tuple of str): Synonyms, the commonest first.
        parents (tuple of int): Offsets of the hypernyms.
        is_name (bool): Whether it is one individual, as a town is.
        gloss (str): The definition.
        related (tuple of int): Offsets of the nouns that a word of it is derived from.
    """

    file: int
    words: tuple[str, ...]
    parents: tuple[int, ...]
    is_name: bool
    gloss: str
    related: tuple[int, ...] = ()


class WordNet:
    """Nouns, adjectives and the frequencies of WordNet 3.0.

    Args:
        folder (Path): Where its files ``data.noun``, ``data.adj`` and ``cntlist.rev`` lie.
    """

    def __init__(self, folder: Path) -> None:
        self.nouns = dict(_synsets(folder / "data.noun"))
        self.adjectives = dict(_synsets(folder / "data.adj"))
        self.count: Counter[tuple[str, str]] = Counter()  # of a word, as a noun ("1"), ...
        for line in (folder / "cntlist.rev").read_text(encoding="utf-8").splitlines():
            key, _, number = line.split()
            word, sense = key.split("%")
            part = "3" if sense[0] == "5" else sense[0]
            self.count[word.replace("_", " "), part] += int(number)

    def ancestors(self, offset: int) -> set[int]:
        """Everything that a noun is a kind of."""
        found: set[int] = set()
        todo = list(self.nouns[offset].parents)
        while todo:
            parent = todo.pop()
            if parent not in found:
                found.add(parent)
                todo += self.nouns[parent].parents
        return found


def _synsets(path: Path) -> Iterable[tuple[int, Synset]]:
    """Reads a ``data`` file, whose lines wndb.5WN describes."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):  # the licence
            continue
        fields, gloss = line.split(" | ", 1)
        field = fields.split()
        end = 4 + 2 * int(field[3], 16)
        words = tuple(word.split("(")[0].replace("_", " ") for word in field[4:end:2])
        pointers = [field[i : i + 4] for i in range(end + 1, end + 1 + 4 * int(field[end]), 4)]
        parents = tuple(int(p[1]) for p in pointers if p[0] in ("@", "@i") and p[2] == "n")
        is_name = any(p[0] == "@i" for p in pointers)
        related = tuple(int(p[1]) for p in pointers if p[0] == "+" and p[2] == "n")
        synset = Synset(int(field[1]), words, parents, is_name, gloss.strip(), related)
        yield int(field[0]), synset


# Phrases ##############################################################################


def phrases(
    wordnet: WordNet, classes: Sequence[int], familiar: Container[str], seed: int = 0
) -> dict[str, float]:
    """Phrases to learn, with how often to draw each.

    Args:
        wordnet (WordNet): The words.
        classes (sequence of int): The offsets of the classes that the image tower knows.
        familiar (container of str): Words that are common in English.
        seed (int, optional): Seeds the compounds. (default: :obj:`0`)
    """
    weight: dict[str, float] = {}

    def add(phrase: str, value: float) -> None:
        phrase = phrase.lower()
        weight[phrase] = max(weight.get(phrase, 0.0), value)

    known = set(classes)
    kinds = set().union(*(wordnet.ancestors(offset) for offset in classes))
    near = kinds | known
    for offset, synset in wordnet.nouns.items():
        for place, word in enumerate(synset.words):
            number = wordnet.count[word.lower(), "1"]
            visible = synset.file in VISIBLE
            value = math.sqrt(1 + number) * (1.0 if visible else 0.3)
            if visible and word in familiar:
                value *= 3
            if visible and near.intersection(
                synset.parents
            ):  # below or beside what the tower knows
                value *= 2
            if visible and place == 0 and word.isalpha():
                value *= 2
            value = min(value, 40.0)
            if offset in known or (offset in kinds and visible):
                add(word, max(value, 8.0))
                add(plural(word), max(value, 8.0) / 2)
            elif synset.is_name or (word != word.lower() and not number):
                continue
            elif number or visible:
                add(word, value)
                if visible and number:
                    add(plural(word), value / 2)
    for word in _surface_nouns(wordnet):
        add(participle(word), min(5.0, max(1.0, weight.get(word, 0.0))))
    for word, value in _looks(wordnet).items():
        add(word, value)
        if value > 1:
            add(f"{word} texture", value / 3)
    adjectives = _common(wordnet, wordnet.adjectives, "3")
    for word, value in adjectives.items():
        add(word, value)
        add(f"{word} texture", value / 4)
    visible_nouns = _common(
        wordnet, {k: v for k, v in wordnet.nouns.items() if v.file in VISIBLE}, "1"
    )
    generator = np.random.default_rng(seed)
    for first, second, value in (
        (adjectives, visible_nouns, 0.5),
        (visible_nouns, visible_nouns, 0.5),
    ):
        for a, b in zip(_draw(first, generator), _draw(second, generator), strict=True):
            add(f"{a} {b}", value)
    for offset, synset in wordnet.nouns.items():
        common = any(wordnet.count[word.lower(), "1"] > 1 for word in synset.words)
        if offset in known or (synset.file in VISIBLE and common and not synset.is_name):
            text = " ".join(synset.gloss.split(";")[0].split()[:14])
            add(f"{synset.words[0]}, {text}" if offset in known else text, 0.5)
    return dict(sorted(weight.items()))


def _surface_nouns(wordnet: WordNet) -> list[str]:
    """Words of things that a surface can have on it, as stripes and cobwebs."""
    return sorted(
        {
            word
            for synset in wordnet.nouns.values()
            if synset.file in SURFACE and not synset.is_name
            for word in synset.words
            if word.isalpha() and word.islower()
        }
    )


def _looks(wordnet: WordNet) -> dict[str, float]:
    """Adjectives; most of all those that say how a surface looks, as "striped" and "bubbly"."""
    weight: dict[str, float] = {}
    for synset in wordnet.adjectives.values():
        derived = any(wordnet.nouns[offset].file in VISIBLE for offset in synset.related)
        for word in filter(str.isalpha, synset.words):
            looks = derived or word.endswith(("ed", "y", "ous", "ine"))
            weight[word] = max(weight.get(word, 0.0), 5.0 if looks else 1.0)
    return weight


def _common(wordnet: WordNet, synsets: dict[int, Synset], part: str) -> dict[str, float]:
    """The words that WordNet's texts use, with the root of how often."""
    words = {word.lower() for synset in synsets.values() for word in synset.words}
    return {
        word: math.sqrt(wordnet.count[word, part])
        for word in sorted(words)
        if wordnet.count[word, part]
    }


def _draw(words: dict[str, float], generator: np.random.Generator, size: int = 8000) -> list[str]:
    share = np.array(list(words.values()))
    return list(generator.choice(list(words), size=size, p=share / share.sum()))


def participle(word: str) -> str:
    """The regular participle, as of a verb: what has a cobweb is cobwebbed."""
    if word.endswith("e"):
        return word + "d"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ied"
    short = len(word) < 5 and word[-1] in "bdgmnprt"  # "dotted", but "patterned" and "cobwebbed"
    doubled = (short or word[-1] == "b") and word[-2:-1] in "aeiou" and word[-3:-2] not in "aeiou"
    return word + (word[-1] if doubled else "") + "ed"


def plural(word: str) -> str:
    """The regular plural."""
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"
