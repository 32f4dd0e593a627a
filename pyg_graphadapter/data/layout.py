"""Reads folders of images: which folders are classes, and which are splits."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pyg_graphadapter.data.decode import SUFFIXES
from pyg_graphadapter.data.folder import Links
from pyg_graphadapter.data.folder_list import list_of_splits
from pyg_graphadapter.data.reading import CLASS_FOLDERS, ImageRow, Reading, ReadOptions
from pyg_graphadapter.data.splits import SplitNames, differ_in_split, plain, split_meant
from pyg_graphadapter.data.tree import Parts, Tree, read_tree

UNLABELLED = "images without a class folder"
NO_SPLIT = "images in folders that are no split"
NO_IMAGE = "folders without an image"
# A folder that holds such files alone is no class whose images cannot be read:
TEXT_SUFFIXES = ("", ".md", ".rst", ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml",
                 ".yml", ".html", ".pdf", ".py", ".pyc", ".ipynb", ".log")  # fmt: skip
LIST_SUFFIXES = (".csv", ".tsv", ".jsonl")
MAX_SHOWN = 3
HOW_TO_CHOOSE = (
    "Or make splits of them with --split train=NAME,test=NAME (split='train=NAME,test=NAME')."
)
# Folders that say whether images have labels, and parts of one data set, which are no classes:
STATES = ("labeled", "labelled", "unlabeled", "unlabelled")
PARTS = ("images", "imgs", "masks", "labels", "annotations", "segmentations")
# Folders around class folders, beside those that are called as the folder around them:
WRAPPINGS = ("images", "imgs", "img", "data")


def is_folder(source: Any) -> bool:
    """Whether a source is a folder."""
    return isinstance(source, str | Path) and Path(source).is_dir()


def read_folder(source: str | Path, options: ReadOptions, reading: Reading) -> list[ImageRow]:
    """Reads a folder of class folders, with or without folders of splits above or below them.

    Raises:
        ValueError: If there are no class folders, or they can be understood in two ways.
    """
    root = Path(source)
    options.refuse(
        f"the folder {root}, which is no list and no data set",
        "image_column", "label_column", "split_column", "crops",
    )  # fmt: skip
    names = SplitNames(options.split)
    links = Links(root, follow=options.follow_links)
    tree = read_tree(root, links, reading, lambda name: names.meant(name) is not None)
    links.report(reading)
    if not tree.images and not tree.folders(1):
        raise _no_classes(root)
    whole, meant = tree, dict[str, str]()
    if options.layout is None and not names.choices:
        tree = _without_wrapping(tree, names, reading)
        meant = _meant_by_words(tree, names, reading)
        names = SplitNames({split: [n for n in meant if meant[n] == split] for split in
                            meant.values()}) if meant else names  # fmt: skip
    layout = options.layout or _layout_of(tree, names)
    if layout == "classes" and options.layout is None:
        _check_lists(whole)
    rows = LAYOUTS[layout](tree, names, reading)
    if not rows:
        raise _no_classes(root)
    return [row._replace(split=meant[row.split]) if row.split in meant else row for row in rows]


def _check_lists(tree: Tree) -> None:
    """Refuses class folders beside a list that tells splits.

    Raises:
        ValueError: If there is such a list, with the option that takes all images.
    """
    file = list_of_splits(tree)
    if file is not None:
        raise _two_readings(
            tree,
            f"{file} tells splits of images in class folders",
            {"classes": "every folder is a class with all images in it"},
            f"Or give {tree.root / file}, if it has paths and labels, or make folders of the "
            f"splits.",
        )


def _no_classes(root: Path) -> ValueError:
    lists = sorted(path for path in root.iterdir() if path.suffix.lower() in LIST_SUFFIXES)
    further = f" Or give the list of images, if {lists[0]} is one." if lists else ""
    return ValueError(
        f"{root} has no class folders: put the images of every class into a folder with the "
        f"name of the class, as {root}/cat/1.jpg.{further}"
    )


def _without_wrapping(tree: Tree, names: SplitNames, reading: Reading) -> Tree:
    """The tree in the only folder of a folder, if that folder holds several: one class alone would
    be none."""
    while (
        len(tops := tree.with_images()) == 1
        and not tree.has_images_right_in()
        and names.meant(tops[0]) is None
        and not tree.has_images_right_in(tops[0])
        and not any(names.meant(name) for name in tree.folders(1))
    ):
        tree = tree.below(tops[0])
        reading.notes.append(f"The classes lie in {tree.root}.")
    return tree


def _meant_by_words(tree: Tree, names: SplitNames, reading: Reading) -> dict[str, str]:
    """The splits that folders mean which differ in a word for a split alone.

    Raises:
        ValueError: If several groups of folders do.
    """
    tops = tree.with_images()
    if any(names.meant(top) is not None for top in tops):
        return {}
    groups = differ_in_split(tops)
    if len(groups) > 1:
        raise _two_readings(
            tree,
            f"{_shown([name for group in groups for name in group])} have words for splits in "
            f"their names",
            {"classes": f"the classes are {_shown(tops)}"},
            HOW_TO_CHOOSE,
        )
    for group in groups:
        as_splits = ", ".join(f"{name!r} as {split}" for name, split in group.items())
        reading.notes.append(f"Folders are read as splits by a word in their names: {as_splits}.")
    return groups[0] if groups else {}


# The layout ###########################################################################


def _layout_of(tree: Tree, names: SplitNames) -> str:
    """What the folders are.

    Raises:
        ValueError: If it can be understood in two ways, with the option that chooses.
    """
    tops = tree.with_images()
    inner = {top: tree.with_images(top) for top in tops}
    split_tops = [top for top in tree.folders(1) if names.meant(top) is not None]
    if names.choices and not any(name in tops for name in names.choices) and any(
        name in folders for folders in inner.values() for name in names.choices
    ):  # fmt: skip
        return "class-splits"
    if names.choices:
        return "splits"
    if split_tops:
        return _layout_of_splits(tree, names, split_tops)
    with_splits = [t for t in tops if any(names.meant(name) is not None for name in inner[t])]
    if with_splits:
        if len(with_splits) == len(tops):
            _check_sets(tree, names)
            return "class-splits"
        raise _two_readings(
            tree,
            f"{_shown(with_splits)} holds folders that are named as splits, other folders do not",
            {"classes": "every folder is a class with all images in it",
             "class-splits": "every class folder holds folders of splits"},
        )  # fmt: skip
    _check_kinds(tree)
    _check_domains(tree, ())
    return "classes"


def _check_kinds(tree: Tree) -> None:
    """Refuses folders as classes whose names say another thing of their images.

    Raises:
        ValueError: If there are some, with the options that choose.
    """
    tops = tree.with_images()
    parts = [top for top in tops if plain(top) in PARTS]
    kinds = [top for top in tops if plain(top) in STATES] or (parts if len(parts) > 1 else [])
    if kinds:
        raise _two_readings(
            tree,
            f"{_shown(kinds)} are no names of classes",
            {"classes": f"the classes are {_shown(tops)}"},
            f"Or name the folder of class folders alone: {tree.root / kinds[0]}.",
        )


def _layout_of_splits(tree: Tree, names: SplitNames, split_tops: Sequence[str]) -> str:
    labelled = [top for top in split_tops if tree.with_images(top)]
    others = [top for top in tree.with_images() if top not in split_tops]
    classes = {"classes": f"the classes are {_shown(sorted([*split_tops, *others]))}"}
    if not labelled:
        raise _two_readings(
            tree,
            f"{_shown(split_tops)} is named as a split, but holds no class folders with images",
            classes,
            "Otherwise put the images of every class into a folder with its name, as "
            f"{split_tops[0]}/cat, or move {split_tops[0]} away.",
        )
    if others and "train" not in names.resolve(labelled, str(tree.root)).values():
        raise _two_readings(
            tree,
            f"{_shown(labelled)} is named as a split, {_shown(others)} is not, and there is no "
            f"training split",
            classes,
            f"Or name the folder of training images, as in --split train={others[0]} "
            f"(split='train={others[0]}').",
        )
    for top in labelled:
        if names.meant(top) == "train":
            _check_domains(tree, _around_classes(tree, top))
    return "splits"


def _around_classes(tree: Tree, top: str) -> Parts:
    """The folder that holds the class folders of a split: itself, or one in it that is called so,
    as a split, or as images, and is the only one."""
    above: Parts = (top,)
    while (
        len(inner := tree.with_images(*above)) == 1
        and not tree.has_images_right_in(*above)
        and (
            plain(inner[0]) == plain(top)
            or split_meant(inner[0]) is not None
            or plain(inner[0]) in WRAPPINGS
        )
    ):
        above = (*above, inner[0])
    return above


def _check_sets(tree: Tree, names: SplitNames) -> None:
    """Refuses folders with splits in them that hold the same class folders: each is a data set.

    Raises:
        ValueError: If it is so.
    """
    tops = tree.with_images()
    inner = [
        {name for split in tree.with_images(top) if names.meant(split) is not None
         for name in tree.with_images(top, split)}
        for top in tops
    ]  # fmt: skip
    common = set.intersection(*inner)
    if len(tops) > 1 and len(common) > 1:
        raise ValueError(
            f"{tree.root}: {_shown(tops)} all hold splits with the folders "
            f"{_shown(sorted(common))}, and are data sets of their own: give one of them, as "
            f"{tree.root / tops[0]}, or say that they are the classes with --layout class-splits "
            f"(layout='class-splits')."
        )


def _check_domains(tree: Tree, above: Parts) -> None:
    """Refuses folders that all hold the same folders: either may be the classes."""
    tops = tree.with_images(*above)
    inner = [set(tree.with_images(*above, top)) for top in tops]
    if len(tops) < 2 or any(tree.has_images_right_in(*above, top) for top in tops):
        return
    common, union = set.intersection(*inner), set.union(*inner)
    if len(common) < 2 or 2 * len(common) < len(union):
        return
    raise _two_readings(
        tree,
        f"{_shown(tops)} all hold the folders {_shown(sorted(common))}",
        {"classes": f"the classes are {_shown(tops)}",
         "domains": f"the classes are {_shown(sorted(common))}, each from several places"},
        "" if above else HOW_TO_CHOOSE,
    )  # fmt: skip


def _two_readings(
    tree: Tree, what: str, layouts: Mapping[str, str], further: str = ""
) -> ValueError:
    choices = "; ".join(f"--layout {name} (layout={name!r}): {text}" for name, text in
                        layouts.items())  # fmt: skip
    return ValueError(f"{tree.root}: {what}. Say what they are: {choices}. {further}".rstrip())


def _shown(names: Sequence[str]) -> str:
    further = f", … ({len(names)} folders)" if len(names) > MAX_SHOWN else ""
    return ", ".join(map(repr, names[:MAX_SHOWN])) + further


# The rows of each layout ##############################################################


def _read_classes(tree: Tree, names: SplitNames, reading: Reading) -> list[ImageRow]:
    reading.layout = CLASS_FOLDERS
    _check_empty(tree, (), reading, is_complete=True)
    _tell_inner_folders(tree, (), reading)
    return _labelled(tree, tree.images, 0, None, reading)


def _read_splits(tree: Tree, names: SplitNames, reading: Reading) -> list[ImageRow]:
    reading.layout = "folders of splits with class folders"
    return _by_split(tree, names, reading, class_at=1)


def _read_domains(tree: Tree, names: SplitNames, reading: Reading) -> list[ImageRow]:
    """The class is the folder below the top, or below the top of each split."""
    tops = tree.with_images()
    if any(names.meant(top) is not None for top in tops):
        reading.layout = "folders of splits with folders of domains with class folders"
        return _by_split(tree, names, reading, class_at=2)
    reading.layout = "folders of domains with class folders"
    for top in tops:
        _check_empty(tree, (top,), reading)
    return _labelled(tree, tree.images, 1, None, reading)


def _read_class_splits(tree: Tree, names: SplitNames, reading: Reading) -> list[ImageRow]:
    reading.layout = "class folders with folders of splits"
    inner = [name for top in tree.with_images() for name in tree.with_images(top)]
    splits = names.resolve(inner, str(tree.root))
    rows = []
    for parts in tree.images:
        if len(parts) > 2 and parts[1] in splits:
            rows.append(ImageRow(str(tree.root.joinpath(*parts)), parts[0], parts[1]))
        else:
            reading.leave_out(NO_SPLIT if len(parts) > 1 else UNLABELLED, "/".join(parts))
    return rows


def _by_split(tree: Tree, names: SplitNames, reading: Reading, *, class_at: int) -> list[ImageRow]:
    tops = tree.folders(1) if class_at == 1 else tree.with_images()
    splits = names.resolve(tops, str(tree.root))
    if not splits:
        raise ValueError(
            f"{tree.root} has no folder that is named as a split (it has {_shown(tops)}): name "
            f"them with --split train=NAME,test=NAME (split='train=NAME,test=NAME')."
        )
    for top in tree.folders(1):
        if top not in tree.with_images():
            reading.leave_out(NO_IMAGE, top)
    rows: list[ImageRow] = []
    for top in tree.with_images():
        images = [parts for parts in tree.images if len(parts) > 1 and parts[0] == top]
        if top not in splits:
            for parts in images:
                reading.leave_out(NO_SPLIT, "/".join(parts))
            continue
        above = _around_classes(tree, top) if class_at == 1 else (top,)
        _check_empty(tree, above, reading, is_complete=class_at == 1 and splits[top] == "train")
        if class_at == 1 and splits[top] == "train":
            _tell_inner_folders(tree, above, reading)
        if images and all(len(parts) == len(above) + 1 for parts in images):  # a flat folder
            rows += [ImageRow(str(tree.root.joinpath(*parts)), None, top) for parts in images]
        else:
            rows += _labelled(tree, images, len(above) + class_at - 1, top, reading)
    for parts in tree.images:
        if len(parts) == 1:
            reading.leave_out(UNLABELLED, parts[0])
    return rows


def _labelled(
    tree: Tree, images: Iterable[Parts], class_at: int, split: str | None, reading: Reading
) -> list[ImageRow]:
    """The rows of images whose class is the folder at a depth."""
    rows = []
    for parts in images:
        if len(parts) > class_at + 1:
            rows.append(ImageRow(str(tree.root.joinpath(*parts)), parts[class_at], split))
        else:
            reading.leave_out(UNLABELLED, "/".join(parts))
    return rows


def _tell_inner_folders(tree: Tree, above: Parts, reading: Reading) -> None:
    """Notes that all class folders hold several folders, which might be meant as the classes."""
    tops = tree.with_images(*above)
    inner = [tree.with_images(*above, top) for top in tops]
    have_images = any(tree.has_images_right_in(*above, top) for top in tops)
    if tops and not have_images and all(len(folders) > 1 for folders in inner):
        reading.notes.append(
            f"{tops[0]!r} holds {_shown(inner[0])}, and the other classes hold folders, too: if "
            f"those are the classes, choose --layout domains (layout='domains')."
        )


def _check_empty(tree: Tree, above: Parts, reading: Reading, *, is_complete: bool = False) -> None:
    """Counts folders without an image; what may be a class whose images cannot be read is refused.

    Raises:
        ValueError: If a folder among training classes has files that may be images of a format
            that is not read.
    """
    with_images = set(tree.with_images(*above))
    for name in tree.folders(len(above) + 1, above):
        if name in with_images:
            continue
        suffixes = tree.other_suffixes((*above, name))
        if is_complete and not suffixes <= set(TEXT_SUFFIXES):
            raise ValueError(
                f"The class folder {tree.root.joinpath(*above, name)} holds no image: add images "
                f"that end with {', '.join(SUFFIXES)}, or remove it."
            )
        reading.leave_out(NO_IMAGE, "/".join((*above, name)))


Reader: TypeAlias = Callable[[Tree, SplitNames, Reading], list[ImageRow]]
LAYOUTS: Mapping[str, Reader] = {
    "classes": _read_classes,
    "splits": _read_splits,
    "class-splits": _read_class_splits,
    "domains": _read_domains,
}
