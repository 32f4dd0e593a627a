"""CLIP-Adapter: a bottleneck for the image feature, the text features, or both."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pyg_graphadapter.adapters.base import Adapter, AdapterConfig
from pyg_graphadapter.adapters.parts import NAME, TRAINING
from pyg_graphadapter.adapters.seeding import own_draws
from pyg_graphadapter.graph import normalized, unit
from pyg_graphadapter.settings import setting

SIDES = ("image", "text", "both")
REDUCTION = 4


@dataclass(frozen=True)
class CLIPAdapterConfig(AdapterConfig):
    """The settings of :class:`CLIPAdapter`."""

    ratio: float = setting(0.2, "share of the bottleneck's output in the feature", low=0, high=1)
    side: str = setting("image", "which features the bottleneck adapts", choices=SIDES)


class CLIPAdapter(Adapter):
    r"""The adapter of the `"CLIP-Adapter: Better Vision-Language Models with Feature Adapters"
    <https://arxiv.org/abs/2110.04544>`_ paper.

    .. math::
        \mathbf{x}' = r \cdot \textrm{ReLU}(\textrm{ReLU}(\mathbf{x} \mathbf{W}_1) \mathbf{W}_2)
        + (1 - r) \cdot \mathbf{x}, \qquad
        \textrm{logits}_c = s \cdot \cos(\mathbf{x}', \mathbf{t}_c)

    with a width of :math:`D / 4` between both matrices and no bias. The text features, or both, may
    be adapted in the same way. The paper's recipe: Adam with a learning rate of 1e-3. The published
    code has one :math:`r` per data set; here it is selected inside the shots.

    Args:
        text (torch.Tensor): The class text features.
        logit_scale (float, optional): The factor :math:`s`. (default: :obj:`100.0`)
        ratio (float, optional): The share :math:`r`. (default: :obj:`0.2`)
        side (str, optional): :obj:`"image"`, :obj:`"text"` or :obj:`"both"`.
            (default: :obj:`"image"`)

    Shapes:
        - **text:** :math:`(C, D)`
        - **input:** :math:`(B, D)`; **output:** :math:`(B, C)`
    """

    takes_weights: ClassVar[bool] = True
    Config: ClassVar[type[AdapterConfig]] = CLIPAdapterConfig
    is_recordable: ClassVar[bool] = True
    recipe: ClassVar[Mapping[str, Any]] = {"epochs": 100}
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {"ratio": (0.2, 0.4, 0.6)}

    config: CLIPAdapterConfig

    def __init__(self, text: Tensor, logit_scale: float = 100.0, **settings: Any) -> None:
        super().__init__(text, logit_scale, **settings)
        side = self.config.side
        sides = ("image", "text") if side == "both" else (side,)
        self.bottleneck = torch.nn.ModuleDict({side: self._bottleneck() for side in sides})

    def _bottleneck(self) -> torch.nn.Sequential:
        channels = self.text.size(1)
        hidden = max(1, channels // REDUCTION)
        # A fixed seed, so that the same task gives the same adapter:
        with own_draws(seed=0), torch.device("cpu"):
            return torch.nn.Sequential(
                torch.nn.Linear(channels, hidden, bias=False),
                torch.nn.ReLU(),
                torch.nn.Linear(hidden, channels, bias=False),
                torch.nn.ReLU(),
            ).to(self.text)

    def _adapted(self, x: Tensor, side: str) -> Tensor:
        """Features of length one ``[*, D]``, adapted if the adapter adapts their side."""
        x = normalized(x)
        if side not in self.bottleneck:
            return x
        return normalized(torch.lerp(x, self.bottleneck[side](x).to(x.dtype), self.config.ratio))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` of image features ``[B, D]``."""
        text = self._adapted(self.text, "text")
        return self.logit_scale * (self._adapted(x, "image") @ text.t()).to(text.dtype)

    def logit_parts(self, x: Tensor) -> dict[str, Tensor]:
        """The name, and what the trained bottleneck adds."""
        logits = self(x)
        # Of both sides, a feature is the share 1 - ratio as it is, and the output of the bottleneck
        share = self._share_as_it_is(x, "image") * self._share_as_it_is(self.text, "text").t()
        name: Tensor = self.logit_scale * share * (normalized(x) @ self.text.t())
        return {NAME: name, TRAINING: logits - name}

    def _share_as_it_is(self, x: Tensor, side: str) -> Tensor:
        """With what factor features of length one are in the adapted ones ``[*, 1]``."""
        x = normalized(x)
        if side not in self.bottleneck:
            return torch.ones_like(x[:, :1])
        sum_of_both = torch.lerp(x, self.bottleneck[side](x).to(x.dtype), self.config.ratio)
        share: Tensor = (1 - self.config.ratio) / sum_of_both.norm(dim=1, keepdim=True)
        return share

    def extend(self, text: Tensor, *, class_names: Sequence[str] = ()) -> "CLIPAdapter":
        """The classifier for its classes and new ones, with the same bottleneck."""
        text = torch.cat([self.text, unit(text).to(self.text)])
        extended = CLIPAdapter(text, self.logit_scale, **asdict(self.config)).to(text.device)
        extended.bottleneck.load_state_dict(self.bottleneck.state_dict())
        return extended
