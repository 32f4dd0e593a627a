"""What an image is compared with where a classifier is explained: examples, and names."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyg_graphadapter.adapters import Adapter
from pyg_graphadapter.adapters.keyed import KeyedAdapter
from pyg_graphadapter.features import Features
from pyg_graphadapter.graph import row_blocks, unit

EXAMPLE, TRAINED_EXAMPLE, MEAN = "example", "trained example", "mean of examples"
SAME = 1 - 1e-5  # the cosine of an example that is a text, which stands in for missing shots


@dataclass(frozen=True)
class Reference:
    """The features that a classifier keeps, of length one.

    Args:
        text (torch.Tensor, optional): The names ``[C, D]``; :obj:`None` without texts.
        examples (torch.Tensor): The examples ``[S, D]``, or their means; there may be none.
        labels (torch.Tensor): Their classes ``[S]``.
        kind (str): What the examples are: ``example``, ``trained example`` or ``mean of examples``.
    """

    text: Tensor | None
    examples: Tensor
    labels: Tensor
    kind: str

    @classmethod
    def of(cls, adapter: Adapter, shots: Features | None, *, has_text: bool) -> "Reference":
        """What a classifier keeps: its shots, or those in its method, or their means."""
        text = unit(adapter.text.detach().cpu().float())
        x, labels, kind = text[:0], torch.empty(0, dtype=torch.long), EXAMPLE
        means = getattr(adapter, "prototypes", None)
        if shots is not None:
            x, labels = shots.mean_views(), shots.y
        elif isinstance(adapter, KeyedAdapter):
            x, labels = adapter.keys, adapter.labels
            kind = TRAINED_EXAMPLE if "keys" in adapter.key_parameters else EXAMPLE
        elif isinstance(means, Tensor) and means.shape == text.shape:
            x, labels, kind = means, torch.arange(len(means)), MEAN
        x, labels = unit(x.detach().cpu().float()), labels.cpu()
        if has_text:  # where shots were missing, texts stand in for them
            is_image = (x * text[labels]).sum(dim=1) < SAME
            x, labels = x[is_image], labels[is_image]
        return cls(text if has_text else None, x, labels, kind)

    def nearest_examples(self, x: Tensor) -> list[tuple[int, float]] | None:
        """The class of the most similar example of every image ``[N, D]``, with the cosine."""
        if not len(self.examples):
            return None
        cosine, index = nearest(x, self.examples)
        return list(zip(self.labels[index].tolist(), cosine.tolist(), strict=True))

    def nearest_names(self, x: Tensor) -> list[tuple[int, float]] | None:
        """The class of the most similar name of every image ``[N, D]``, with the cosine."""
        if self.text is None:
            return None
        cosine, index = nearest(x, self.text)
        return list(zip(index.tolist(), cosine.tolist(), strict=True))

    def means(self, num_classes: int) -> Tensor | None:
        """The means of the examples of every class ``[C, D]``, zero for a class without any;
        :obj:`None` where there are no examples."""
        if not len(self.examples):
            return None
        total = self.examples.new_zeros(num_classes, self.examples.size(1))
        return total.index_add_(0, self.labels, self.examples)  # in direction


def nearest(x: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """The largest cosine of every row ``[N, D]`` with others of length one ``[S, D]``, and where
    that is, ``[N]`` each."""
    x = unit(x.detach().cpu().float())
    blocks = [(x[rows] @ others.t()).max(dim=1) for rows in row_blocks(len(x), len(others))]
    if not blocks:
        return x.new_empty(0), torch.empty(0, dtype=torch.long)
    return torch.cat([block.values for block in blocks]), torch.cat([b.indices for b in blocks])
