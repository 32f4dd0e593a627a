"""open_clip's models as the classes of transformers, with the poolings that only open_clip has."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling

from pyg_graphadapter.encoding.open_clip.settings import (
    TEXT_TOWERS,
    OpenClipSettings,
    activation,
    layer_norm_eps,
)


class _ImageSide:
    """The image tower, which both kinds of models share."""

    def _prepare(self: Any, config: Any) -> None:
        """Changes a model of transformers to what open_clip builds."""
        settings = config.open_clip
        if settings["no_ln_pre"]:
            self.vision_model.pre_layrnorm = nn.Identity()
        if settings["has_logit_bias"]:
            self.logit_bias = nn.Parameter(torch.zeros(()))
        width, out = config.text_config.hidden_size, config.projection_dim
        self.register_module(
            "text_projection", _projection(settings["text_projection"], width, out)
        )

    def get_image_features(self: Any, pixel_values: Tensor, **_: Any) -> Any:
        """The features ``[N, D]`` of images, as ``pooler_output``."""
        output = self.vision_model(pixel_values=pixel_values)
        settings, norm = self.config.open_clip, self.vision_model.post_layernorm
        x = output.pooler_output  # the class token
        if settings["image_pool"] == "avg":
            tokens = output.last_hidden_state[:, 1:]
            x = norm(tokens.mean(1)) if settings["norm_after_pool"] else norm(tokens).mean(1)
        return _output(self.visual_projection(x))


class OpenClipModel(_ImageSide, CLIPModel):  # type: ignore[no-untyped-call]
    """A ViT with CLIP's text tower.

    Args:
        config (transformers.CLIPConfig): Its configuration, with an entry ``open_clip`` that says
            how its towers pool.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._prepare(config)

    def get_text_features(self: Any, input_ids: Tensor, **_: Any) -> Any:
        """The features ``[N, D]`` of texts, as ``pooler_output``. Padding is attended to, as
        open_clip does; with a causal mask, no text sees what comes after it."""
        tower = self.text_model
        if self.config.open_clip["is_causal"]:
            x = tower(input_ids=input_ids).last_hidden_state  # [N, L, W]
        else:
            x = tower.embeddings(input_ids=input_ids)
            x = tower.encoder(inputs_embeds=x, attention_mask=None, is_causal=False)[0]
            x = tower.final_layer_norm(x)
        x = x[torch.arange(len(x), device=x.device), self._text_places(input_ids)]
        return _output(self.text_projection(x))

    def _text_places(self, ids: Tensor) -> Tensor:
        """The token of every text that stands for it ``[N]``."""
        pool = self.config.open_clip["text_pool"]
        if pool == "argmax":  # the end of the text has the largest number
            return ids.argmax(dim=1)
        if pool == "eos":
            end: int = self.config.open_clip["eos_id"]
            return (ids == end).int().argmax(dim=1)
        return torch.full_like(ids[:, 0], 0 if pool == "first" else ids.size(1) - 1)


class OpenClipHubTextModel(_ImageSide, VisionTextDualEncoderModel):  # type: ignore[no-untyped-call]
    """A ViT with a text tower of transformers.

    Args:
        config (transformers.VisionTextDualEncoderConfig): Its configuration, with an entry
            ``open_clip`` that says how its towers pool.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._prepare(config)
        if config.open_clip["text_pool"] != "cls_pooler":
            self.text_model.pooler = None

    def get_text_features(self: Any, input_ids: Tensor, **_: Any) -> Any:
        """The features ``[N, D]`` of texts, as ``pooler_output``. What is padding is seen by its
        token, as open_clip does."""
        mask = (input_ids != self.config.text_config.pad_token_id).long()
        output = self.text_model(input_ids=input_ids, attention_mask=mask)
        pool, x = self.config.open_clip["text_pool"], output.last_hidden_state
        if pool == "cls_pooler":
            x = output.pooler_output
        elif pool == "mean_pooler":
            x = (x * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        else:
            x = x[:, 0]
        return _output(self.text_projection(x))


def _projection(kind: str, width: int, out: int) -> nn.Module:
    """The projection of text features of some width."""
    if kind == "none":
        return nn.Identity()
    if kind == "mlp":
        hidden = (width + out) // 2
        first, second = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, out, bias=False)
        return nn.Sequential(first, nn.GELU(), second)
    return nn.Linear(width, out, bias=kind == "bias")


def model_class(settings: OpenClipSettings) -> type[OpenClipModel] | type[OpenClipHubTextModel]:
    """The class of a model."""
    return OpenClipModel if settings.text.hf_model_name is None else OpenClipHubTextModel


def config_of(
    settings: OpenClipSettings, tokenizer: Any, text: Any | None, *, has_logit_bias: bool
) -> Any:
    """The configuration of transformers for a model.

    Args:
        settings (OpenClipSettings): What open_clip says of it.
        tokenizer (transformers.PreTrainedTokenizerBase): Its tokenizer.
        text (transformers.PretrainedConfig, optional): That of a text tower of the hub.
        has_logit_bias (bool): Whether a bias is learned beside the factor of the cosine.
    """
    entries = {
        "image_pool": settings.vision.pool_type,
        "norm_after_pool": settings.vision.final_ln_after_pool,
        "no_ln_pre": settings.vision.no_ln_pre,
        "has_logit_bias": has_logit_bias,
    }
    vision = _vision_config(settings)
    if text is not None:
        entries |= _entries_of_hub_text(settings, text)
        config: Any = VisionTextDualEncoderConfig.from_vision_text_configs(
            vision, text, projection_dim=settings.embed_dim
        )
    else:
        stated = settings.text
        projection = "bias" if stated.proj_bias else "linear"
        entries |= {
            "is_causal": not stated.no_causal_mask,
            "text_pool": stated.pool_type,
            "eos_id": stated.eos_id,
            "text_projection": "none" if stated.proj_type == "none" else projection,
        }
        config = CLIPConfig(
            text_config=_text_config(settings).to_dict(),
            vision_config=vision.to_dict(),
            projection_dim=settings.embed_dim,
        )
        config.padded_to_length = _is_padded(settings, tokenizer)
    config.open_clip = entries
    return config


def _vision_config(settings: OpenClipSettings) -> CLIPVisionConfig:
    stated = settings.vision
    return CLIPVisionConfig(
        hidden_size=stated.width,
        intermediate_size=int(stated.width * stated.mlp_ratio),
        projection_dim=settings.embed_dim,
        num_hidden_layers=stated.layers,
        num_attention_heads=stated.width // stated.head_width,
        image_size=settings.image_size,
        patch_size=settings.patch_size,
        hidden_act=activation(settings.quick_gelu, stated.act_kwargs),
        layer_norm_eps=layer_norm_eps(stated.norm_kwargs),
    )


def _text_config(settings: OpenClipSettings) -> CLIPTextConfig:
    stated = settings.text
    return CLIPTextConfig(
        vocab_size=stated.vocab_size,
        hidden_size=stated.width,
        intermediate_size=int(stated.width * stated.mlp_ratio),
        projection_dim=settings.embed_dim,
        num_hidden_layers=stated.layers,
        num_attention_heads=stated.heads,
        max_position_embeddings=stated.context_length,
        hidden_act=activation(settings.quick_gelu, stated.act_kwargs),
        layer_norm_eps=layer_norm_eps(stated.norm_kwargs),
        bos_token_id=None,
        eos_token_id=2,  # so it pools at the largest token, which is not used
    )


def _entries_of_hub_text(settings: OpenClipSettings, text: Any) -> dict[str, Any]:
    stated = settings.text
    if stated.hf_proj_type is not None:
        projection = stated.hf_proj_type
    elif text.hidden_size == settings.embed_dim:
        projection = "none"
    else:
        raise ValueError("its text_cfg.hf_proj_type is null, and its features differ in width")
    pool = stated.hf_pooler_type or TEXT_TOWERS[text.model_type]
    return {"text_pool": pool, "text_projection": projection}


def _is_padded(settings: OpenClipSettings, tokenizer: Any) -> bool:
    """Whether the length to which texts are padded decides their features."""
    stated = settings.text
    largest_is_padding = (tokenizer.pad_token_id or 0) > (tokenizer.eos_token_id or 0)
    return (
        stated.no_causal_mask
        or stated.pool_type == "last"
        or (stated.pool_type == "argmax" and largest_is_padding)
    )


def _output(features: Tensor) -> BaseModelOutputWithPooling:
    return BaseModelOutputWithPooling(pooler_output=features)
