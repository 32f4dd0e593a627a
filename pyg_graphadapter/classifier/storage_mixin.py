"""Classifiers in folders and on the Hugging Face hub."""

from pathlib import Path
from typing import Any, Self

from huggingface_hub import ModelCard, ModelHubMixin, snapshot_download

from pyg_graphadapter.classifier.base import ClassifierBase
from pyg_graphadapter.classifier.file import (
    CARD,
    FIELDS,
    WEIGHTS,
    read_classifier,
    write_classifier,
)
from pyg_graphadapter.classifier.model_card import model_card
from pyg_graphadapter.settings import refuse_arguments


class StorageMixin(ClassifierBase, ModelHubMixin):
    """A classifier that is saved and loaded."""

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Writes ``classifier.safetensors`` and ``classifier.json``.

        Raises:
            ValueError: If the folder holds something else, or a classifier and not
                :obj:`overwrite`.
        """
        fields = {name: getattr(self, name) for name in FIELDS}
        write_classifier(
            Path(folder),
            self.adapter,
            fields,
            overwrite=overwrite,
            shots=self.shots,
            confidence=self.confidence,
            familiarity=self.familiarity,
        )

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Reads a classifier that :meth:`save` wrote; the encoder is loaded when images need it.

        Raises:
            FileNotFoundError: If there is no classifier.
            ValueError: If it is damaged or of a later format.
        """
        adapter, fields = read_classifier(Path(folder))
        return cls(adapter, tuple(fields.pop("class_names")), **fields)

    def _save_pretrained(self, save_directory: Path) -> None:
        folder = Path(save_directory)
        self.save(folder, overwrite=(folder / CARD).exists())

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        **unknown_arguments: Any,
    ) -> Self:
        """Loads a classifier from a folder or from the Hugging Face hub. Only its two files are
        read; no code that comes with it is run.

        Args:
            pretrained_model_name_or_path (str or Path): The folder, or the id on the hub.
            revision (str, optional): Branch, tag or commit on the hub. (default: :obj:`None`)
            token (str or bool, optional): For classifiers that are not public.
                (default: :obj:`None`)
            cache_dir (str or Path, optional): Where downloads are kept. (default: :obj:`None`)
            force_download (bool, optional): Download again. (default: :obj:`False`)
            local_files_only (bool, optional): Download nothing. (default: :obj:`False`)

        Raises:
            ValueError: If an argument is unknown, such as ``trust_remote_code``, or the classifier
                cannot be read.
        """
        refuse_arguments(unknown_arguments)
        loaded: Self = super().from_pretrained(
            pretrained_model_name_or_path,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
        )
        return loaded

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **_: Any,  # what the mixin takes from config.json
    ) -> Self:
        if Path(model_id).is_dir():
            return cls.load(model_id)
        folder = snapshot_download(
            model_id,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
            allow_patterns=[WEIGHTS, "classifier-*.safetensors", CARD],
        )
        return cls.load(folder)

    def generate_model_card(self, *_: Any, **__: Any) -> ModelCard:
        """The model card that :meth:`push_to_hub` uploads, with measured accuracies."""
        return model_card(
            self.class_names,
            self.method,
            self.training,
            self.encoding,
            self.measured,
            self.confidence,
            is_transductive=self.adapter.is_transductive,
        )
