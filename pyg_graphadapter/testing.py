"""Public fakes for tests and examples."""

import math

import torch

from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.features import Features
from pyg_graphadapter.graph import unit


def fake_features(
    num_classes: int = 10,
    channels: int = 32,
    shots: int = 16,
    tests: int = 20,
    views: int = 1,
    seed: int = 0,
    *,
    text_noise: float = 1.0,
    image_noise: float = 1.0,
) -> FeatureFile:
    r"""Made-up features of a dual encoder, with what makes real ones hard: image features spread
    about their class, text features point beside it, and the two kinds lie apart.

    Args:
        num_classes (int, optional): The number of classes :math:`C`. (default: :obj:`10`)
        channels (int, optional): The width :math:`D`. (default: :obj:`32`)
        shots (int, optional): Training images a class. (default: :obj:`16`)
        tests (int, optional): Test images a class. (default: :obj:`20`)
        views (int, optional): Views a training image. (default: :obj:`1`)
        seed (int, optional): The seed. (default: :obj:`0`)
        text_noise (float, optional): How far texts point beside their class, as a multiple of the
            length of what sets it apart. (default: :obj:`1.0`)
        image_noise (float, optional): How far images spread, likewise. (default: :obj:`1.0`)

    Example:
        >>> fake_features(num_classes=3, channels=8, shots=2).train.x.shape
        torch.Size([6, 1, 8])
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        x = torch.randn(*shape, channels, generator=generator)
        return x / math.sqrt(channels)

    centre, gap = draw(num_classes), draw(2)  # [C, D], [2, D]
    text = unit(centre + text_noise * draw(num_classes) + gap[0])

    def images(count: int, views: int) -> Features:
        y = torch.arange(num_classes).repeat_interleave(count)
        x = (centre[y] + image_noise * draw(len(y))).unsqueeze(1)  # [N, 1, D]
        x = x + 0.3 * draw(len(y), views) if views > 1 else x  # [N, V, D]
        return Features(unit(x + gap[1]), y)

    return FeatureFile(
        text=text,
        class_names=tuple(f"class {c}" for c in range(num_classes)),
        train=images(shots, views),
        test=images(tests, 1),
    )
