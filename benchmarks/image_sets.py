"""Real images that more than one benchmark measures, as data sets with a train and a test split."""

from pathlib import Path

import datasets

from pyg_graphadapter.data import few_shot, load_images

DOMAINS = ("photo", "art_painting", "cartoon", "sketch")


def image_sets(folder: Path) -> dict[str, datasets.DatasetDict]:
    """The built-in drawings, and CIFAR-10, DTD and PACS below a folder, by name."""
    return {
        "drawings": load_images("builtin"),
        "cifar10_mini": load_images(folder / "cifar10_mini"),
        "dtd10_mini": dtd(folder / "dtd10_mini"),
        **{f"pacs_{name}": pacs(folder / "pacs_mini", name) for name in DOMAINS},
    }


def pacs(folder: Path, held_out: str) -> datasets.DatasetDict:
    """Three domains to train on, the fourth to test on."""
    domains = {name: load_images(folder / name)["train"] for name in DOMAINS}
    rest = [domains[name] for name in DOMAINS if name != held_out]
    return datasets.DatasetDict(train=datasets.concatenate_datasets(rest), test=domains[held_out])


def dtd(folder: Path) -> datasets.DatasetDict:
    """8 images per class to train on, the others to test on."""
    images = load_images(folder / "images")["train"]
    numbered = images.add_column("row", list(range(len(images))))
    train = few_shot(numbered, 8, seed=0)["row"]
    rest = sorted(set(range(len(images))) - set(train))
    return datasets.DatasetDict(train=images.select(train), test=images.select(rest))
