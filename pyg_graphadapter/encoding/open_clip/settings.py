"""What open_clip's configuration says of a model, as far as it has an equal in transformers."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pyg_graphadapter.storage import FileKind, OneOf, SchemaError, Within, checked

CONFIG = "open_clip_config.json"
# Kinds of text towers from the Hugging Face hub, and the pooling that open_clip gives them:
TEXT_TOWERS = {"bert": "cls_pooler", "roberta": "mean_pooler", "xlm-roberta": "mean_pooler"}
POOLERS = ("mean_pooler", "cls_pooler", "cls_last_hidden_state_pooler")
COVERED = (
    "of open_clip's models, those are read whose towers are a ViT and CLIP's text transformer, "
    "BERT or RoBERTa, without further parts"
)
# Entries that have no equal, with the values that leave a tower as it is:
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "attentional_pool": (None, False),
    "block_type": (None, "default"),
    "embed_cls": (None, False),
    "ls_init_value": (None,),
    "qk_norm": (None, False),
    "scale_attn": (None, False),
    "scale_attn_inner": (None, False),
    "scale_fc": (None, False),
    "scale_heads": (None, False),
    "scaled_cosine_attn": (None, False),
    "timm_model_name": (None, ""),
}
# Entries of the training alone, or of towers that are refused anyway:
NOT_NEEDED = (
    "attn_pooler_heads",
    "attn_pooler_queries",
    "hf_model_pretrained",
    "output_tokens",
    "patch_dropout",
    "pos_embed_type",  # fixed positions are stored like learned ones
    "timm_drop",
    "timm_drop_path",
    "timm_model_pretrained",
    "timm_pool",
    "timm_proj",
    "timm_proj_bias",
)
# Entries of the whole model, of which those of the factor are stored as weights:
OF_THE_MODEL = (
    "custom_text",
    "embed_dim",
    "init_logit_bias",
    "init_logit_scale",
    "multimodal_cfg",
    "nonscalar_logit_scale",
    "quick_gelu",
    "text_cfg",
    "vision_cfg",
)
Size = Annotated[int, Within(1, 100_000)]


@dataclass(frozen=True)
class OpenClipContent:
    """What ``open_clip_config.json`` holds."""

    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any] | None = None


CONFIG_FILE: FileKind[OpenClipContent] = FileKind(
    "configuration of open_clip", OpenClipContent, "Fetch it again", suffixes=(".json",)
)


@dataclass(frozen=True)
class ImageTower:
    """The entries of ``vision_cfg``, with open_clip's defaults."""

    layers: Size = 12
    width: Size = 768
    head_width: Size = 64
    mlp_ratio: Annotated[float, Within(1e-3, 100)] = 4.0
    patch_size: Size | tuple[Size, Size] = 16
    image_size: Size | tuple[Size, Size] = 224
    no_ln_pre: bool = False
    final_ln_after_pool: bool = False
    pool_type: Annotated[str, OneOf(("tok", "avg"))] = "tok"
    act_kwargs: dict[str, Any] | None = None
    norm_kwargs: dict[str, Any] | None = None


@dataclass(frozen=True)
class TextTower:
    """The entries of ``text_cfg``, with open_clip's defaults."""

    context_length: Size = 77
    vocab_size: Annotated[int, Within(1, 10_000_000)] = 49408
    hf_tokenizer_name: str | None = None
    tokenizer_mode: Annotated[str, OneOf(("",))] | None = None
    tokenizer_kwargs: dict[str, Any] | None = None
    width: Size = 512
    heads: Size = 8
    layers: Size = 12
    mlp_ratio: Annotated[float, Within(1e-3, 100)] = 4.0
    pad_id: int = 0
    eos_id: int = 2
    no_causal_mask: bool = False
    final_ln_after_pool: bool = False  # open_clip reads it and does nothing with it
    pool_type: Annotated[str, OneOf(("argmax", "eos", "first", "last"))] = "argmax"
    proj_bias: bool = False
    proj_type: Annotated[str, OneOf(("linear", "none"))] | None = "linear"
    act_kwargs: dict[str, Any] | None = None
    norm_kwargs: dict[str, Any] | None = None
    hf_model_name: str | None = None
    hf_proj_type: Annotated[str, OneOf(("linear", "mlp"))] | None = "mlp"
    hf_pooler_type: Annotated[str, OneOf(POOLERS)] | None = "mean_pooler"


@dataclass(frozen=True)
class Preprocessing:
    """The entries of ``preprocess_cfg``, with open_clip's defaults."""

    mode: Annotated[str, OneOf(("RGB",))] = "RGB"
    mean: tuple[float, float, float] | float = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] | float = (0.26862954, 0.26130258, 0.27577711)
    interpolation: Annotated[str, OneOf(("bicubic", "bilinear", "random"))] = "bicubic"
    resize_mode: Annotated[str, OneOf(("shortest", "longest", "squash"))] = "shortest"
    fill_color: Annotated[int, Within(0, 255)] = 0


@dataclass(frozen=True)
class OpenClipSettings:
    """A model of open_clip that has an equal in transformers.

    Args:
        embed_dim (int): The width of the features.
        vision (ImageTower): Its image tower.
        text (TextTower): Its text tower.
        preprocessing (Preprocessing): How images become pixels.
        quick_gelu (bool): Whether its towers use the quick GELU. (default: :obj:`False`)
    """

    embed_dim: Size
    vision: ImageTower
    text: TextTower
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    quick_gelu: bool = False

    @property
    def image_size(self) -> int:
        """The side of its images in pixels."""
        size = self.vision.image_size
        return size if isinstance(size, int) else size[0]

    @property
    def patch_size(self) -> int:
        """The side of a patch in pixels."""
        size = self.vision.patch_size
        return size if isinstance(size, int) else size[0]


def settings_of(content: OpenClipContent) -> OpenClipSettings:
    """The settings of a model, from its configuration.

    Raises:
        ValueError: If it has no equal in transformers, naming what is in the way.
    """
    model = content.model_cfg
    if model.get("multimodal_cfg") is not None:
        raise ValueError("it is a CoCa model, as its multimodal_cfg says")
    for name in model.keys() - set(OF_THE_MODEL):
        raise ValueError(f"its model_cfg.{name[:60]} has no equal in transformers")
    vision, text = (_table(model, name) for name in ("vision_cfg", "text_cfg"))
    if vision.get("timm_model_name"):
        raise ValueError(f"its image tower is of timm: {str(vision['timm_model_name'])[:80]}")
    if isinstance(vision.get("layers"), list):
        raise ValueError(f"its image tower is a ModifiedResNet of layers {vision['layers'][:8]}")
    settings = OpenClipSettings(
        embed_dim=checked(model.get("embed_dim"), Size, "model_cfg.embed_dim"),
        vision=_checked(vision, ImageTower, "vision_cfg"),
        text=_checked(text, TextTower, "text_cfg"),
        preprocessing=checked(_stated(content.preprocess_cfg), Preprocessing, "preprocess_cfg"),
        quick_gelu=checked(model.get("quick_gelu", False), bool, "model_cfg.quick_gelu"),
    )
    _check_preprocessing(settings.preprocessing)
    for name in ("image_size", "patch_size"):
        size = getattr(settings.vision, name)
        if isinstance(size, tuple) and size[0] != size[1]:
            raise ValueError(f"its vision_cfg.{name} is {list(size)}, and only squares are read")
    _check_image(settings)
    if settings.text.hf_model_name is None:
        _check_text(settings, settings.text)
    return settings


def activation(quick_gelu: bool, act_kwargs: Mapping[str, Any] | None) -> str:
    """The name that transformers has for an activation.

    Raises:
        ValueError: If it has none.
    """
    if not act_kwargs:
        return "quick_gelu" if quick_gelu else "gelu"
    if not quick_gelu and act_kwargs in ({"approximate": "none"}, {"approximate": "tanh"}):
        return "gelu" if act_kwargs["approximate"] == "none" else "gelu_pytorch_tanh"
    raise ValueError(f"its act_kwargs {dict(act_kwargs)} have no equal in transformers")


def layer_norm_eps(norm_kwargs: Mapping[str, Any] | None) -> float:
    """The epsilon of layer norms.

    Raises:
        ValueError: If the layer norms differ in something else.
    """
    if not norm_kwargs:
        return 1e-5
    if set(norm_kwargs) == {"eps"}:
        return float(checked(norm_kwargs["eps"], Annotated[float, Within(0, 1)], "norm_kwargs.eps"))
    raise ValueError(f"its norm_kwargs {dict(norm_kwargs)} have no equal in transformers")


def _table(model: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = model.get(name)
    if not isinstance(table, dict):
        raise SchemaError(f"model_cfg.{name}", "a table", table)
    return table


def _checked(table: dict[str, Any], kind: Any, where: str) -> Any:
    """A table as its schema has it; entries that would change the tower are refused by name."""
    known = {entry.name for entry in dataclasses.fields(kind)}
    for name, value in table.items():
        if name in known or name in NOT_NEEDED or value in NEUTRAL.get(name, ()):
            continue
        raise ValueError(
            f"its {where}.{name[:60]} = {str(value)[:60]} has no equal in transformers"
        )
    return checked(table, kind, f"model_cfg.{where}")


def _stated(table: Mapping[str, Any] | None) -> dict[str, Any]:
    """The entries that state something: open_clip leaves out ``null``, and empty means and
    deviations."""
    stated = {name: value for name, value in (table or {}).items() if value is not None}
    return {name: value for name, value in stated.items() if value or name not in ("mean", "std")}


def _check_preprocessing(preprocessing: Preprocessing) -> None:
    std = preprocessing.std
    if not all(std if isinstance(std, tuple) else (std,)):
        raise ValueError("its preprocess_cfg.std must not be zero")


def _check_image(settings: OpenClipSettings) -> None:
    """Refuses an image tower that cannot be built."""
    vision = settings.vision
    if settings.patch_size > settings.image_size:
        raise ValueError(
            f"its vision_cfg.patch_size {settings.patch_size} is above its image_size "
            f"{settings.image_size}"
        )
    _check_tower(settings, vision, "vision_cfg", vision.width // vision.head_width)


def _check_tower(
    settings: OpenClipSettings, tower: ImageTower | TextTower, where: str, heads: int
) -> None:
    """Refuses heads, an activation or layer norms that transformers does not have."""
    if heads < 1 or tower.width % heads:
        raise ValueError(f"its {where}.width {tower.width} cannot be split into {heads} heads")
    activation(settings.quick_gelu, tower.act_kwargs)
    layer_norm_eps(tower.norm_kwargs)


def _check_text(settings: OpenClipSettings, text: TextTower) -> None:
    """Refuses a text tower of open_clip's own that cannot be built or compared."""
    _check_tower(settings, text, "text_cfg", text.heads)
    if not text.hf_tokenizer_name and (text.no_causal_mask or text.pool_type == "last"):
        # Its padding would be seen, which the tokenizers of transformers write otherwise.
        entry = "no_causal_mask" if text.no_causal_mask else "pool_type 'last'"
        raise ValueError(f"its text_cfg has {entry} and no hf_tokenizer_name")
    if text.proj_type == "none" and text.width != settings.embed_dim:
        raise ValueError(
            f"its text features are {text.width} wide, and its image features {settings.embed_dim}"
        )
