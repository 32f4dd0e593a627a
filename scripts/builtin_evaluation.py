"""What the built-in model can do: zero-shot accuracy on labelled images, and speed.

Not run by itself: ``build_builtin_model.py`` imports it.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from builtin_text import Teacher, TextMap
from datasets import Dataset
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, VisionTextDualEncoderModel

logger = logging.getLogger(__name__)

PHOTO = ("a photo of a {}.",)
TEMPLATES = (
    "{}",
    "a photo of a {}.",
    "a drawing of a {}.",
    "a painting of a {}.",
    "a sketch of a {}.",
)


@dataclass(frozen=True)
class ImageSet:
    """Labelled images: the name of the set, its class names, the images and their classes."""

    name: str
    class_names: list[str]
    images: Sequence[Any]
    labels: list[int]


def image_sets(path: Path) -> Iterator[ImageSet]:
    """Every set below a folder, as ``SET/CLASS/image``, or the one of a parquet file."""
    if path.suffix == ".parquet":
        table = Dataset.from_parquet(str(path))
        name = f"{path.parent.name}/{path.stem}"
        yield ImageSet(name, table.features["label"].names, table["image"], [*table["label"]])
        return
    found: dict[str, dict[str, list[Path]]] = {}
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"):
            name = file.parent.parent.relative_to(path.parent).as_posix()
            found.setdefault(name, {}).setdefault(file.parent.name, []).append(file)
    for name, classes in found.items():
        labels = [i for i, files in enumerate(classes.values()) for _ in files]
        images = [file for files in classes.values() for file in files]
        yield ImageSet(name, [label.replace("_", " ") for label in classes], images, labels)


@dataclass(frozen=True)
class Encoder:
    """The saved checkpoint, loaded as anybody would."""

    model: VisionTextDualEncoderModel
    tokenizer: Any
    processor: Any

    @classmethod
    def load(cls, folder: Path) -> "Encoder":
        """Loads a checkpoint, of which every tensor must be used.

        Raises:
            ValueError: If a tensor is missing, superfluous or misshaped.
        """
        model, report = VisionTextDualEncoderModel.from_pretrained(folder, output_loading_info=True)
        if any(report.values()):
            raise ValueError(f"The checkpoint does not load as it was saved: {report}.")
        tokenizer, processor = (
            kind.from_pretrained(folder) for kind in (AutoTokenizer, AutoImageProcessor)
        )
        return cls(model.eval(), tokenizer, processor)

    @torch.inference_mode()
    def encode_images(self, images: Sequence[Any], batch_size: int = 32) -> Tensor:
        """Features of length one ``[M, D]`` of files or PIL images."""
        parts = []
        for start in range(0, len(images), batch_size):
            batch = [_opened(image) for image in images[start : start + batch_size]]
            pixels = self.processor(images=batch, return_tensors="pt")["pixel_values"]
            parts.append(self.model.get_image_features(pixel_values=pixels).pooler_output)
        return F.normalize(torch.cat(parts), dim=-1)

    @torch.inference_mode()
    def encode_text(self, names: list[str], templates: Sequence[str]) -> Tensor:
        """Features of length one ``[C, D]`` of names, averaged over templates."""
        prompts = [template.format(name) for name in names for template in templates]
        tokens = self.tokenizer(prompts, padding=True, return_tensors="pt")
        x = F.normalize(self.model.get_text_features(**tokens).pooler_output, dim=-1)
        return F.normalize(x.view(len(names), len(templates), -1).mean(dim=1), dim=-1)


def _opened(image: Path | Image.Image) -> Image.Image:
    return (Image.open(image) if isinstance(image, Path) else image).convert("RGB")


def evaluate(
    folder: Path, paths: Sequence[Path], teacher: Teacher, text_map: TextMap
) -> list[dict[str, Any]]:
    """Zero-shot accuracy of the saved checkpoint on sets of images, and of the teacher's texts."""
    encoder = Encoder.load(folder)
    results = []
    for images in (each for path in paths for each in image_sets(path)):
        start = time.perf_counter()
        x = encoder.encode_images(images.images)
        seconds = time.perf_counter() - start
        y = torch.tensor(images.labels)
        expected = text_map(teacher.encode_templates(images.class_names))
        photo = encoder.encode_text(images.class_names, PHOTO)
        text = encoder.encode_text(images.class_names, TEMPLATES)
        result = {
            "set": images.name,
            "images": len(x),
            "classes": len(expected),
            "teacher": _accuracy(x @ expected.t(), y),
            "student_photo": _accuracy(x @ photo.t(), y),
            "student_templates": _accuracy(x @ text.t(), y),
            "text_cosine": round(float((text * expected).sum(dim=-1).mean()), 3),
            "images_per_second": round(len(x) / seconds, 1),
        }
        logger.info("%s", result)
        results.append(result)
    return results


def _accuracy(logits: Tensor, y: Tensor) -> float:
    return round(100 * float((logits.argmax(dim=1) == y).double().mean()), 1)


@torch.inference_mode()
def speed(folder: Path) -> dict[str, float]:
    """Images a second through the image tower and the projection, in batches of 32."""
    model = VisionTextDualEncoderModel.from_pretrained(folder).eval()
    pixels = torch.randn(32, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    threads, found = torch.get_num_threads(), {}
    for number in (1, 2):
        torch.set_num_threads(number)
        model.get_image_features(pixel_values=pixels)
        start = time.perf_counter()
        for _ in range(3):
            model.get_image_features(pixel_values=pixels)
        found[f"{number} threads"] = round(3 * len(pixels) / (time.perf_counter() - start), 1)
    torch.set_num_threads(threads)
    return found
