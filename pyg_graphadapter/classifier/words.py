"""Explanations as sentences, for readers who know no graphs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyg_graphadapter.adapters.parts import (
    EXAMPLES,
    NAME,
    NAMES,
    OTHERS,
    OTHERS_AND_EXAMPLES,
    TRAINING,
    WHOLE,
)
from pyg_graphadapter.classifier.reference import EXAMPLE, MEAN, TRAINED_EXAMPLE
from pyg_graphadapter.display import visible

if TYPE_CHECKING:
    from pyg_graphadapter.classifier.reasons import Reason, Similar

LITTLE = 0.1  # of the sum of the sizes of all parts
SMALLEST_LEAD = 1e-4
# What speaks, and whether it is one thing or several:
SUBJECTS = {
    NAME: ("the class names", True),
    NAMES: ("the class names as training changed them", True),
    EXAMPLES: ("the comparison with your examples", False),
    TRAINING: ("what was learned from your examples", False),
    OTHERS: ("the images classified with it", True),
    OTHERS_AND_EXAMPLES: ("the images classified with it and your examples", True),
    WHOLE: ("the method as a whole", False),
}
# The parts that are there because of the examples; an image's sentences add them up:
BY_EXAMPLES = (NAMES, EXAMPLES, TRAINING)
ALL_EXAMPLES = "all examples"
SUBJECTS_OF_IMAGES = SUBJECTS | {ALL_EXAMPLES: ("your examples", True)}
NAMES_OF_PARTS = {kind: name for kind, (name, _) in SUBJECTS.items()}
NEAREST = {
    EXAMPLE: "It looks most like one of your examples of {name} (similarity {similarity:.2f}).",
    TRAINED_EXAMPLE: "It looks most like one of your examples of {name}, as training changed it "
    "(similarity {similarity:.2f}).",
    MEAN: "It looks most like your examples of {name} (similarity {similarity:.2f} to their mean).",
}


def quoted(name: str) -> str:
    """A class name in quotes, with what cannot be seen as escapes."""
    return f"'{visible(name)}'"


def percent(probability: float) -> str:
    """A probability in percent; neither 0 nor 100 by rounding."""
    share = 100 * probability
    if share < 1:
        return "below 1 %"
    return "over 99 %" if share > 99 else f"{share:.0f} %"


def image_in_words(reason: "Reason") -> str:
    """Why an image is said to show a class: what speaks for it and what against it, and what the
    image is most similar to."""
    first = f"{quoted(reason.class_name)} (probability {percent(reason.probability)})"
    if reason.rival is None or reason.rival_probability is None:
        return f"{first}: there is no other class."
    first += f", before {quoted(reason.rival)} ({percent(reason.rival_probability)}): "
    sentences = [first + _balance(reason) + "."]
    kinds = {part.kind for part in reason.parts}
    if reason.example is not None:
        name = quoted(reason.example.class_name)
        sentence = NEAREST[reason.example.kind]
        sentences.append(sentence.format(name=name, similarity=reason.example.similarity))
    if reason.name is not None and kinds != {NAME}:
        sentences.append(_of_names(reason, reason.name, kinds))
    if reason.is_transductive:
        sentences.append(
            "This method classifies the images that are given together: among others, the answer "
            "may be another."
        )
    return " ".join(sentences)


def _of_names(reason: "Reason", name: "Similar", kinds: set[str]) -> str:
    same = name.class_name == reason.class_name
    alone = f"By names alone it would be {quoted(name.class_name)}{', too' if same else ''}"
    if WHOLE in kinds:
        return f"{alone}; this method does not tell names and examples apart."
    return f"{alone}." if kinds & {NAME, NAMES} else f"{alone}; this method does not use names."


def _balance(reason: "Reason") -> str:
    """What speaks for the class, what against it, and what adds little."""
    amounts: dict[str, float] = {}
    for part in reason.parts:
        kind = ALL_EXAMPLES if part.kind in BY_EXAMPLES else part.kind
        amounts[kind] = amounts.get(kind, 0.0) + part.amount
    total = sum(map(abs, amounts.values()))
    kinds = sorted(amounts, key=lambda kind: -abs(amounts[kind]))
    little = [kind for kind in kinds if abs(amounts[kind]) < LITTLE * total]
    favours = [kind for kind in kinds if kind not in little and amounts[kind] > 0]
    objections = [kind for kind in kinds if kind not in little and amounts[kind] < 0]
    if total < SMALLEST_LEAD or not favours:  # of classes that are the same, rounding remains
        return "nothing tells the two apart"
    text = _clause(favours, "speak", "for it")
    if objections:
        against = f"for {quoted(reason.rival or '')}"
        text += f", though {_clause(objections, 'speak', against)}"
    return f"{text}; {_clause(little, 'add', 'little')}" if little else text


def _clause(kinds: Sequence[str], verb: str, what: str) -> str:
    """What parts of these kinds do, as a clause."""
    subjects = [SUBJECTS_OF_IMAGES.get(kind, (f"the part {kind!r}", False)) for kind in kinds]
    are_several = len(subjects) > 1 or subjects[0][1]
    return f"{listed([name for name, _ in subjects])} {verb}{'' if are_several else 's'} {what}"


def listed(words: Sequence[str]) -> str:
    """Words in a sentence, as ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
