"""The keys of feature files by their usual names, and the nearest known one of another."""

import difflib
from collections.abc import Collection, Iterator

SPLIT_WORDS = {
    "train": ("train", "training", "trn", "tr"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
}
FEATURE_WORDS = (
    "features", "feature", "feats", "feat", "embeddings", "embedding", "embeds", "emb", "x",
    "image_features", "img_features", "image_embeddings", "img_emb",
)  # fmt: skip
LABEL_WORDS = ("labels", "label", "targets", "target", "y", "lbl", "classes", "class_ids")
TEXT_WORDS = (
    "text_features", "text_feature", "text_feats", "text_feat", "text_embeddings",
    "text_embedding", "text_embeds", "text_emb", "text", "texts", "txt_features", "class_text",
    "class_texts", "class_text_features", "class_features", "class_embeddings",
)  # fmt: skip
NAME_WORDS = ("class_names", "classnames", "class_name", "classname", "classes", "names",
              "label_names", "category_names", "categories")  # fmt: skip
SCALE_WORDS = ("logit_scale", "logitscale", "logits_scale")


def _spellings() -> Iterator[tuple[str, str]]:
    """Pairs of a usual name and the key that it stands for."""
    for key, words in (
        ("features", FEATURE_WORDS),
        ("labels", ("labels", "label", "targets", "target", "y")),
        ("text_features", TEXT_WORDS),
        ("class_names", NAME_WORDS),
        ("logit_scale", SCALE_WORDS),
    ):
        yield from ((word, key) for word in words)
    for split, split_words in SPLIT_WORDS.items():
        for kind, kind_words in (("features", FEATURE_WORDS), ("labels", LABEL_WORDS)):
            for split_word in split_words:
                for word in kind_words:
                    yield f"{split_word}_{word}", f"{split}_{kind}"
                    yield f"{word}_{split_word}", f"{split}_{kind}"
                    yield f"{split_word}{word}", f"{split}_{kind}"


SPELLINGS = {spelling: key for spelling, key in _spellings()}
KEYS = tuple(dict.fromkeys(SPELLINGS.values()))


def known_key(name: str) -> str | None:
    """The key that a name stands for, in any case, with ``-``, ``.``, ``/`` or blanks for ``_``."""
    for sign in "-./ ":
        name = name.replace(sign, "_")
    return SPELLINGS.get(name.lower())


def match_keys(names: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Which of the names of a file stands for which key, and the names that stand for none.

    Where a key is there under its own name, others that could stand for it are unknown.

    Raises:
        ValueError: If two names stand for one key.
    """
    by_key = {key: key for key in KEYS if key in names}
    for name in names:
        key = known_key(name)
        if key is None or name in by_key.values() or key in names:
            continue
        if key in by_key:
            raise ValueError(
                f"it holds both {by_key[key]!r} and {name!r}, and each could be {key!r}: rename "
                f"the one that is meant to {key!r}"
            )
        by_key[key] = name
    return by_key, [name for name in names if name not in by_key.values()]


def nearest_key(name: str) -> str | None:
    """The known key that is spelled most like a name, if one is."""
    close = difflib.get_close_matches(name.lower(), SPELLINGS, n=1, cutoff=0.7)
    return SPELLINGS[close[0]] if close else None
