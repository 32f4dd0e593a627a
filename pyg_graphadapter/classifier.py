"""A fitted classifier: features in, labels out; saved without the data it was fitted on."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from pyg_graphadapter.adapters import Adapter, adapter_class
from pyg_graphadapter.engine import TrainConfig, train
from pyg_graphadapter.evaluation import predict_logits
from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.storage import prepare_folder, sha256, versions, write_atomic
from pyg_graphadapter.task import draw_task

WEIGHTS = "classifier.safetensors"
CARD = "classifier.json"
FORMAT = "pyg_graphadapter/classifier/1"


@dataclass(frozen=True)
class FewShotClassifier:
    """A trained adapter with the names of its classes.

    Args:
        adapter (Adapter): The adapter.
        class_names (tuple of str): The names of its classes.
        method (str): The method's name.
        training (dict): How it was trained. (default: :obj:`{}`)

    Example:
        >>> from pyg_graphadapter.testing import fake_features
        >>> data = fake_features(num_classes=3)
        >>> classifier = FewShotClassifier.fit(data, shots=4, progress=False)
        >>> classifier.predict(data.test.mean_views()[:3])
        ['class 0', 'class 0', 'class 0']
    """

    adapter: Adapter
    class_names: tuple[str, ...]
    method: str
    training: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        data: FeatureFile,
        shots: int = 16,
        seed: int = 1,
        method: str = "graph_adapter",
        config: TrainConfig | None = None,
        *,
        progress: bool = True,
        **settings: Any,
    ) -> Self:
        """Draws a few shots and trains a method on them.

        Args:
            data (FeatureFile): The features.
            shots (int, optional): The number of images a class. (default: :obj:`16`)
            seed (int, optional): The seed of the draw. (default: :obj:`1`)
            method (str, optional): The method's name. (default: :obj:`"graph_adapter"`)
            config (TrainConfig, optional): How to train; the defaults with :obj:`seed` if not
                given. (default: :obj:`None`)
            progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)
            **settings (optional): The method's settings.

        Raises:
            ValueError: If a class has too few images, or a name or setting is unknown.
        """
        config = config or TrainConfig(seed=seed)
        task = draw_task(data, shots, seed)
        adapter = adapter_class(method).from_task(task, **settings)
        train(adapter, task, config, progress=progress)
        training = {"shots": shots, "draw_seed": seed, **asdict(config)}
        return cls(adapter.cpu(), data.class_names, method, training)

    def predict_proba(self, x: Tensor) -> Tensor:
        """Class probabilities ``[N, C]`` of image features ``[N, D]``.

        Raises:
            ValueError: If the features are not finite, or of another width than those that it was
                fitted with.
        """
        width = self.adapter.text.size(1)
        if x.dim() != 2 or x.size(1) != width:
            raise ValueError(
                f"The classifier was fitted with features {width} wide (got {list(x.shape)}): use "
                f"those of the same encoder."
            )
        if not x.isfinite().all():
            raise ValueError("Features must be finite (got NaN or infinity).")
        return predict_logits(self.adapter, x).softmax(dim=1)

    def predict(self, x: Tensor) -> list[str]:
        """The class name of every row of image features ``[N, D]``.

        Raises:
            ValueError: As :meth:`predict_proba` does.
        """
        return [self.class_names[c] for c in self.predict_proba(x).argmax(dim=1).tolist()]

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Writes ``classifier.safetensors`` and ``classifier.json``.

        Raises:
            ValueError: If the folder holds something else, or a classifier and not
                :obj:`overwrite`.
        """
        folder = Path(folder)
        check_output(folder, overwrite=overwrite)
        state = {name: value.contiguous() for name, value in self.adapter.state_dict().items()}
        weights = safetensors.torch.save(state)
        card = {
            "format": FORMAT,
            "method": self.method,
            "class_names": list(self.class_names),
            "logit_scale": self.adapter.logit_scale,
            "settings": self.adapter.settings(),
            "training": self.training,
            "sha256": sha256(weights),
            "versions": versions(),
        }
        write_atomic(folder / WEIGHTS, weights)
        write_atomic(
            folder / CARD, (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode()
        )

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Reads what :meth:`save` wrote; nothing else is needed.

        Raises:
            FileNotFoundError: If there is no classifier.
            ValueError: If it is damaged or of a later format.
        """
        folder = Path(folder)
        for name in (CARD, WEIGHTS):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"There is no classifier in {folder} ({name} is missing): make one with "
                    f"'graphadapter fit FEATURES --out {folder}'."
                )
        weights = (folder / WEIGHTS).read_bytes()
        try:
            card = json.loads((folder / CARD).read_text(encoding="utf-8"))
            if card["format"] != FORMAT:
                raise ValueError(f"its format is {card['format']!r}, not {FORMAT!r}")
            if sha256(weights) != card["sha256"]:
                raise ValueError(f"{WEIGHTS} is not the file that {CARD} was written with")
            state = safetensors.torch.load(weights)
            adapter = adapter_class(card["method"]).from_state(
                state, card["logit_scale"], card["settings"]
            )
            names = tuple(card["class_names"])
            if len(names) != adapter.num_classes:
                raise ValueError(f"{len(names)} class names for {adapter.num_classes} classes")
            return cls(adapter.eval(), names, card["method"], card["training"])
        except (ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ValueError(
                f"The classifier in {folder} cannot be read ({error}): fit it again, or update "
                f"this package."
            ) from error


def check_output(folder: Path, *, overwrite: bool = False) -> None:
    """Makes the folder for a classifier.

    Raises:
        ValueError: If it holds something else, or a classifier and not ``overwrite``.
    """
    prepare_folder(folder, lambda path: path.name in (WEIGHTS, CARD))
    if (folder / CARD).exists() and not overwrite:
        raise ValueError(
            f"The output folder {folder} holds a classifier already: choose another folder, or "
            f"overwrite it (--overwrite)."
        )
