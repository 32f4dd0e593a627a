"""open_clip's weights under the names and in the shapes that transformers has for them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from pyg_graphadapter.encoding.checkpoint_files import FLOATING

WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
# Masks and positions that earlier versions stored and that are computed now:
NOT_NEEDED = re.compile(r"(^|\.)(attn_mask|position_ids|token_type_ids)$")
IMAGE = {
    "class_embedding": "vision_model.embeddings.class_embedding",
    "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "ln_pre": "vision_model.pre_layrnorm",  # so transformers spells it
    "ln_post": "vision_model.post_layernorm",
    "proj": "visual_projection.weight",
}
TEXT = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
    "text_projection": "text_projection.weight",
    "text_projection.weight": "text_projection.weight",
    "text_projection.bias": "text_projection.bias",
}
LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
TRANSPOSED = ("proj", "text_projection")  # open_clip multiplies from the right


def stored_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a file in shape alone, without their numbers.

    Raises:
        ValueError: If the file is damaged, or one is not of floating-point numbers.
    """
    weights = {}
    with _opened(path) as file:
        for name in file.keys():  # noqa: SIM118  # it is no dictionary
            part = file.get_slice(name)
            if part.get_dtype() not in FLOATING and not NOT_NEEDED.search(name):
                raise ValueError(
                    f"the weight {name} in {path.name} is stored as {part.get_dtype()}, not as "
                    f"floating-point numbers"
                )
            weights[name] = torch.empty(tuple(part.get_shape()), device="meta")
    return weights


def loaded_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a file in ``float32``."""
    with _opened(path) as file:
        names = [name for name in file.keys() if not NOT_NEEDED.search(name)]  # noqa: SIM118
        return {name: file.get_tensor(name).float() for name in names}


def _opened(path: Path) -> Any:
    try:
        return safetensors.safe_open(path, framework="pt")
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error


def renamed(
    weights: Mapping[str, Tensor], *, has_own_text: bool
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights under the names of transformers, and for each of these the name in open_clip.

    Args:
        weights (dict): The weights by open_clip's names.
        has_own_text (bool): Whether the text tower is CLIP's, not one of transformers.

    Raises:
        ValueError: If two names are those of one weight.
    """
    result: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    for name, weight in weights.items():
        if NOT_NEEDED.search(name):
            continue
        parts = _renamed(name.removeprefix("module."), weight, has_own_text=has_own_text)
        if twice := result.keys() & parts.keys():
            raise ValueError(f"the weight {name} is there twice, also as {names[min(twice)]}")
        result |= parts
        names |= dict.fromkeys(parts, name)
    return result, names


def _renamed(name: str, weight: Tensor, *, has_own_text: bool) -> dict[str, Tensor]:
    if name in ("logit_scale", "logit_bias") and weight.numel() == 1:
        return {name: weight.reshape(())}
    if name.startswith("visual."):
        return _of_tower(name.removeprefix("visual."), weight, IMAGE, "vision_model")
    if has_own_text:
        return _of_tower(name.removeprefix("text."), weight, TEXT, "text_model")
    return {_of_hub_text(name): weight}


def _of_tower(name: str, weight: Tensor, names: Mapping[str, str], tower: str) -> dict[str, Tensor]:
    """One weight of a ViT or of CLIP's text tower, or the three that it is split into."""
    block = re.match(r"transformer\.resblocks\.(\d+)\.(.+)$", name)
    if block:
        return _of_layer(block[2], weight, f"{tower}.encoder.layers.{block[1]}")
    if name in TRANSPOSED and weight.dim() == 2:
        return {names[name]: weight.t().contiguous()}
    if name in names:
        return {names[name]: weight}
    module, _, kind = name.rpartition(".")
    return {f"{names.get(module, f'{tower}.{module}')}.{kind}": weight}


def _of_layer(name: str, weight: Tensor, layer: str) -> dict[str, Tensor]:
    fused = re.match(r"attn\.in_proj_(weight|bias)$", name)
    if fused and weight.dim() and weight.size(0) % 3 == 0:  # queries, keys and values in one
        parts = zip("qkv", weight.chunk(3), strict=True)
        return {f"{layer}.self_attn.{part}_proj.{fused[1]}": third for part, third in parts}
    module, _, kind = name.rpartition(".")
    return {f"{layer}.{LAYER.get(module, module)}.{kind}": weight}


def _of_hub_text(name: str) -> str:
    """The name of a weight of a text tower of transformers, or of its projection."""
    if name.startswith("text.proj."):
        return f"text_projection.{name.removeprefix('text.proj.')}"
    return f"text_model.{name.removeprefix('text.transformer.')}"
