"""What a model of transformers must be like, so that its features are not silently wrong."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from pyg_graphadapter.settings import warn

# Words of one script each: a tokenizer has to tell those of one script apart. Models of one
# language may know no letter of another.
WORDS = (
    ("cat", "dog", "apple", "tree", "house"),
    ("猫", "狗", "苹果", "树", "房子"),
    ("ねこ", "いぬ", "りんご", "いえ"),
    ("고양이", "개", "사과", "나무"),
    ("кот", "собака", "яблоко", "дерево"),
    ("قط", "كلب", "تفاحة", "شجرة"),
    ("बिल्ली", "कुत्ता", "सेब", "पेड़"),
)
# Factors of the cosine: 14 before training, 100 for CLIP and about 117 for SigLIP. The factor of
# exactly 1 is that of a logarithm that was never set.
LARGEST_FACTOR = 1000.0
# Image towers that take images of one size. Others, as DINOv2, fit their positions to the image:
OF_ONE_SIZE = (
    "altclip_vision_model",
    "chinese_clip_vision_model",
    "clip_vision_model",
    "deit",
    "metaclip_2_vision_model",
    "siglip_vision_model",
    "vit",
)
# A vocabulary may be filled up to a round number, but not by half of it:
SMALLEST_SHARE = 0.5
SAME = 1e-6  # the largest difference of features of length one that are the same


def check_model(name: str, model: Any, processor: Any, tokenizer: Any) -> tuple[str, ...]:
    """Checks that weights and factor are sound, that the tokenizer is whole, and that towers,
    projections, tokenizer and image processor fit together.

    Returns:
        tuple of str: Words that the tokenizer knows and tells apart.

    Raises:
        ValueError: If they do not, in one sentence that begins with the model's name.
    """
    try:
        _check_weights(model)
        _check_logit_scale(model)
        _check_widths(model)
        _check_pixels(model, processor)
        _check_tokens(model, tokenizer)
        words = _known_words(tokenizer)
        _check_merges(tokenizer)
    except ValueError as error:
        raise ValueError(f"The model {name!r} cannot be used: {error}.") from error
    return words


def _check_weights(model: Any) -> None:
    for name, weight in model.state_dict().items():
        if name.endswith(("logit_scale", "logit_bias")) or not weight.is_floating_point():
            continue
        # Their sum is finite if they are, unless it overflows:
        if not weight.sum().isfinite() and not weight.isfinite().all():
            raise ValueError(f"its weight {name} is not finite; fetch or save it again")


def _check_logit_scale(model: Any) -> None:
    for name, largest in (("logit_scale", math.log(LARGEST_FACTOR)), ("logit_bias", 1e6)):
        value = getattr(model, name, None)
        if value is None:
            continue
        if value.numel() != 1:
            raise ValueError(f"its {name} must be one number (got {list(value.shape)})")
        number = float(value.detach().float())
        if name == "logit_scale" and number == 0 and getattr(model, "logit_bias", None) is not None:
            # So transformers begins SigLIP, which learns a bias beside the factor:
            warn("The logit_scale of the model is 0, as before training: all classes are likely.")
            continue
        if name == "logit_scale" and not 0 < number <= largest:
            hint = ""
            if largest < number <= LARGEST_FACTOR:
                hint = "; this looks like the factor itself, where its logarithm is meant"
            raise ValueError(
                f"its logit_scale must be the logarithm of a factor above 1 and of at most "
                f"{LARGEST_FACTOR:.0f}, so above 0 and at most {largest:.2f} (got {number:g}){hint}"
            )
        if not abs(number) <= largest:
            raise ValueError(f"its {name} must be a finite number (got {number:g})")


def _check_widths(model: Any) -> None:
    image, text = _widths(model)
    if image is not None and text is not None and image != text:
        raise ValueError(
            f"its image features are {image} wide and its text features {text}, so that they "
            f"cannot be compared"
        )


def _widths(model: Any) -> tuple[int | None, int | None]:
    """The widths of image and text features, where a projection or the configuration says it."""
    visual, textual = getattr(model, "visual_projection", None), _text_projection(model)
    image = getattr(visual, "out_features", None)
    if visual is None:
        image = getattr(getattr(model.config, "vision_config", None), "hidden_size", None)
    return image, getattr(textual, "out_features", None)


def _text_projection(model: Any) -> Any:
    projection = getattr(model, "text_projection", None)
    if projection is None:  # of SigLIP
        projection = getattr(getattr(model, "text_model", None), "head", None)
    return projection


# Images ###############################################################################


def _check_pixels(model: Any, processor: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    try:
        with np.errstate(all="ignore"):  # what is not finite is told below
            inputs = processor(images=[Image.fromarray(noise)], return_tensors="pt")
        pixels = inputs["pixel_values"]
    except Exception as error:  # settings of wrong types and values give errors of any kind
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"its image processor fails on an image ({reason[:200]}); check "
            f"preprocessor_config.json"
        ) from error
    if not pixels.isfinite().all():
        raise ValueError(
            "its image processor gives pixels that are not finite; check image_mean, image_std and "
            "rescale_factor in preprocessor_config.json"
        )
    config = model.config.vision_config
    channels = getattr(config, "num_channels", 3)
    if pixels.dim() == 3:  # flat patches, of SigLIP 2
        patch = config.patch_size
        _check_pixel_size("values per patch", pixels.size(-1), channels * patch * patch)
        return
    _check_pixel_size("channels", pixels.size(1), channels)
    if config.model_type in OF_ONE_SIZE:
        width, height = pixels.size(3), pixels.size(2)
        size = config.image_size
        wanted = tuple(size) if isinstance(size, list | tuple) else (size, size)
        if (height, width) != wanted:
            raise ValueError(
                f"its image processor gives images of {height} x {width} pixels, and its image "
                f"tower takes {wanted[0]} x {wanted[1]}; check preprocessor_config.json"
            )


def _check_pixel_size(what: str, received: int, wanted: int) -> None:
    if received != wanted:
        raise ValueError(
            f"its image processor gives {received} {what}, and its image tower takes {wanted}; "
            f"check preprocessor_config.json"
        )


# Texts ################################################################################


def _check_tokens(model: Any, tokenizer: Any) -> None:
    """Checks that the tower has an embedding of every token, and a token for every embedding."""
    size = getattr(model.config.text_config, "vocab_size", None)
    if tokenizer.pad_token_id is None:
        raise ValueError("its tokenizer has no padding token; its tokenizer_config.json is missing")
    if size is None:
        return
    if len(tokenizer) > size:
        raise ValueError(
            f"its tokenizer has {len(tokenizer):,} tokens, and its text tower knows {size:,}"
        )
    if len(tokenizer) < SMALLEST_SHARE * size:
        raise ValueError(
            f"its tokenizer has {len(tokenizer):,} tokens, and its text tower knows {size:,}, so "
            f"its vocabulary is missing or damaged ({_remedy()})"
        )
    for role in ("pad", "eos", "bos"):
        token = getattr(tokenizer, f"{role}_token_id", None)
        if token is not None and not 0 <= token < size:
            raise ValueError(
                f"its tokenizer's {role} token is {token}, and its text tower knows {size:,} tokens"
            )


def _known_words(tokenizer: Any) -> tuple[str, ...]:
    """Distinct words of one script that are distinct tokens."""
    failures = []
    for words in WORDS:
        failure = _equal_words(tokenizer, words)
        if failure is None:
            return words
        failures.append(failure)
    first, second = failures[0]
    raise ValueError(
        f"its tokenizer gives {first!r} and {second!r} the same tokens, or none that it knows, so "
        f"its vocabulary is missing or damaged ({_remedy()})"
    )


def _equal_words(tokenizer: Any, words: Sequence[str]) -> tuple[str, str] | None:
    """Two words that a tokenizer does not tell apart, or does not know."""
    word_of: dict[tuple[int, ...], str] = {}
    for word in words:
        ids = tokenizer(word, add_special_tokens=False)["input_ids"]
        known = tuple(token for token in ids if token != tokenizer.unk_token_id)
        if known in word_of or not known:
            return word_of.get(known, words[0] if word != words[0] else words[1]), word
        word_of[known] = word
    return None


def _check_merges(tokenizer: Any) -> None:
    """Checks that a byte-pair encoding has the merges that lead to its tokens; without them every
    text falls into letters."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or type(backend.model).__name__ != "BPE":
        return
    state = json.loads(backend.to_str())["model"]
    end = state.get("end_of_word_suffix") or ""
    special = set(tokenizer.get_added_vocab())
    num_words = sum(
        len(token.removesuffix(end)) > 1 and token not in special and not token.startswith("<")
        for token in state["vocab"]
    )
    num_merges = len(state.get("merges") or ())
    if num_merges < SMALLEST_SHARE * num_words:
        raise ValueError(
            f"its tokenizer has {num_merges:,} merges for {num_words:,} tokens of several letters, "
            f"so its merges are missing or damaged ({_remedy()})"
        )


def _remedy() -> str:
    return (
        "its folder must hold tokenizer.json, or vocab.json and merges.txt, or the file of its "
        "tokenizer; fetch or save them again"
    )


# Features #############################################################################


def check_text_features(name: str, words: Sequence[str], x: Tensor) -> None:
    """Checks that the features ``[P, D]`` of distinct words are neither zero nor all the same.

    Raises:
        ValueError: If they are, naming words.
    """
    if not x.any(dim=1).all():
        word = words[int((~x.any(dim=1)).nonzero()[0])]
        raise ValueError(
            f"The model {name!r} cannot be used: its features of the text {word!r} are zero, so "
            f"its text tower is damaged."
        )
    if (x - x[0]).abs().max() < SAME:
        raise ValueError(
            f"The model {name!r} cannot be used: it gives the texts {words[0]!r} and {words[1]!r} "
            f"the same features, so its text tower is damaged, or the eos_token_id of its "
            f"configuration is not that of its tokenizer."
        )
