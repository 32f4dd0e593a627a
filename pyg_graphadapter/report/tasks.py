"""What results were measured on: which runs are of one task, and what tells other tasks apart."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Annotated, Any, Self, TypeVar

from pyg_graphadapter.storage import Within

T = TypeVar("T")
TEST_SPLIT = "shots of the training split, all of the test split"
SHOWN_DIGITS = 8  # of a hash


@dataclass(frozen=True)
class TaskOfResult:
    """What a result file says of its task, besides the names of data set and encoder and the
    numbers of classes and test images.

    Args:
        split (str): ``plain``, or ``base`` for the first half of the classes.
        classes (str): A hash of the names of the classes.
        rule (str): How shots and test images are drawn.
        views (int): The number of views per shot.
        logit_scale (float): The factor of the cosine.
        text (str): A hash of the text features, where a file holds them.
        weights (str): A hash of the encoder's weights, where there is an encoder.
        encoding (dict): How images and class names were encoded.
    """

    split: str = "plain"
    classes: str = ""
    rule: str = TEST_SPLIT
    views: Annotated[int, Within(1)] | None = None
    logit_scale: float | None = None
    text: str | None = None
    weights: str | None = None
    encoding: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """What a result was measured on. Runs of equal tasks that differ in the seed alone may be
    averaged. :obj:`None` stands for what an older file does not record.

    Args:
        dataset (str): The name of the data set.
        split (str): ``plain``, or ``base`` for the first half of the classes.
        num_classes (int, optional): The number of classes.
        classes (str, optional): A hash of their names.
        rule (str, optional): How shots and test images are drawn.
        num_images (int, optional): The number of test images, where it is the same for all draws.
        shifted (tuple of str): Further test sets of other distributions.
        encoder (str): The name of the encoder; empty, if it is not known.
        weights (str, optional): A hash of its weights.
        views (int, optional): The number of views per shot.
        prompts (tuple of str, optional): The templates, or the hash of a file's text features.
        descriptions (str, optional): The hash and the weight of descriptions of the classes.
        precision (str, optional): The type of the encoder's numbers, and the seed of its views.
        logit_scale (float, optional): The factor of the cosine.
    """

    dataset: str
    split: str = "plain"
    num_classes: int | None = None
    classes: str | None = None
    rule: str | None = None
    num_images: int | None = None
    shifted: tuple[str, ...] = ()
    encoder: str = ""
    weights: str | None = None
    views: int | None = None
    prompts: tuple[str, ...] | None = None
    descriptions: str | None = None
    precision: str | None = None
    logit_scale: float | None = None

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Self:
        """The task of a finished run, from the content of its result file."""
        task = result.get("task") or {}
        encoding = task.get("encoding") or {}
        rule, scale, text = task.get("rule"), task.get("logit_scale"), task.get("text")
        prompts = (f"text {text}",) if text else encoding.get("templates")
        return cls(
            result.get("dataset", ""),
            task.get("split") or ("base" if result.get("base_to_new") else "plain"),
            result.get("num_classes"),
            task.get("classes"),
            rule,
            result.get("num_images") if rule in (None, TEST_SPLIT) else None,
            tuple(result.get("shifted") or ()),
            result.get("backbone") or "",
            task.get("weights"),
            task.get("views"),
            None if prompts is None else tuple(prompts),
            _descriptions(encoding) if task else None,
            f"{encoding['dtype']}, view seed {encoding.get('view_seed')}" if encoding else None,
            None if scale is None else float(f"{scale:.4g}"),
        )

    @property
    def has_fixed_test(self) -> bool:
        """Whether all draws are measured on the same images."""
        return self.rule in (None, TEST_SPLIT)

    def suite(self) -> "Task":
        """What it has in common with tasks of other data sets, over which means are taken."""
        return Task(
            "",
            self.split,
            rule=self.rule,
            encoder=self.encoder,
            weights=self.weights,
            views=self.views,
            descriptions=_weight(self),
            precision=self.precision,
        )


def _descriptions(encoding: Mapping[str, Any]) -> str:
    digest = encoding.get("descriptions")
    return f"{encoding.get('descriptions_weight'):g} {digest}" if digest else ""


def completed(items: Iterable[T], is_known: Callable[[T, T], bool]) -> dict[T, T]:
    """For each item, the fullest one that agrees with it in all that it records, if there is one
    such item alone; else the item itself.

    Args:
        items (iterable): The items.
        is_known (callable): Whether the second item says all that the first says, and more.
    """
    items = list(dict.fromkeys(items))
    fuller = {item: [other for other in items if is_known(item, other)] for item in items}
    chosen = {}
    for item in items:
        fullest = [other for other in fuller[item] if not fuller[other]]
        chosen[item] = fullest[0] if len(fullest) == 1 else item
    return chosen


def complete_tasks(tasks: Iterable[Task]) -> dict[Task, Task]:
    """For each task, the one that it is counted as: that of a file which records more, where only
    one fits."""

    def is_known(task: Task, other: Task) -> bool:
        pairs = list(zip(astuple(task), astuple(other), strict=True))
        return task != other and all(a is None or a == b for a, b in pairs)

    return completed(tasks, is_known)


# Names ################################################################################


def names_of(tasks: Iterable[Task], *, says_base: bool = True) -> dict[Task, str]:
    """A name for every task: that of its data set, and what tells it apart from other tasks.

    Args:
        tasks (iterable of Task): The tasks.
        says_base (bool, optional): Name base classes as such, also where all tasks are of base
            classes. (default: :obj:`True`)
    """
    of_dataset: dict[str, list[Task]] = {}
    for task in tasks:
        of_dataset.setdefault(task.dataset, []).append(task)
    names = {}
    for dataset, group in of_dataset.items():
        differ = len({(task.split, task.num_classes) for task in group}) > 1
        for task in group:
            is_said = differ or (says_base and task.split != "plain")
            names[task] = dataset + (_classes(task) if is_said else "")
    return _told_apart(names)


def suite_names(tasks: Iterable[Task]) -> dict[Task, str]:
    """A name for the suite (:meth:`Task.suite`) of every task: what tells it apart, behind a
    comma."""
    tasks = list(tasks)
    counted_as = complete_tasks(task.suite() for task in tasks)
    names = _told_apart({suite: _classes(suite) for suite in counted_as.values()})
    return {task: names[counted_as[task.suite()]] for task in tasks}


def _told_apart(names: dict[Task, str]) -> dict[Task, str]:
    """Names to which that is added which tells tasks of the same name apart, one thing after the
    other."""
    for values, phrase in PHRASES:
        cells: dict[str, list[Task]] = {}
        for task, name in names.items():
            cells.setdefault(name, []).append(task)
        for cell in cells.values():
            if len({values(task) for task in cell}) > 1:
                names |= {task: names[task] + phrase(task) for task in cell}
    counts: dict[str, int] = {}
    for task, name in list(names.items()):
        counts[name] = counts.get(name, 0) + 1
        if counts[name] > 1:  # different values with one phrase
            names[task] = f"{name} ({counts[name]})"
    return names


def _classes(task: Task) -> str:
    count = task.num_classes
    if task.split != "plain":
        return f", {task.split} classes" + (f" ({count})" if count else "")
    return f" ({count} classes)" if count else ""


def _encoder(task: Task) -> str:
    return f", {task.encoder}" if task.encoder else ", unknown encoder"


def _prompts(task: Task) -> str:
    if task.prompts is None:
        return ", prompts not recorded"
    if len(task.prompts) > 1:
        return f", {len(task.prompts)} prompts from {task.prompts[0]!r}"
    [prompt] = task.prompts
    return f", {_short(prompt)}" if prompt.startswith("text ") else f", prompt {prompt!r}"


def _described(task: Task) -> str:
    if task.descriptions is None:
        return ", descriptions not recorded"
    weight = _weight(task)
    if not weight:
        return ""
    return f", descriptions (weight {weight})"


def _weight(task: Task) -> str | None:
    return None if task.descriptions is None else task.descriptions.partition(" ")[0]


def _short(text: str) -> str:
    """A kind and a hash, of which the first digits are shown."""
    kind, _, digest = text.partition(" ")
    return f"{kind} {digest[:SHOWN_DIGITS]}"


def _hash(kind: str, digest: str | None) -> str:
    return f", {_short(f'{kind} {digest}')}" if digest else f", {kind} not recorded"


def _of(name: str) -> Callable[[Task], Any]:
    return lambda task: getattr(task, name)


Phrase = tuple[Callable[[Task], Any], Callable[[Task], str]]
# What tells tasks apart, and how it is said:
PHRASES: Sequence[Phrase] = (
    (_of("classes"), lambda task: _hash("names", task.classes)),
    (_of("rule"), lambda task: f", {task.rule or 'draw not recorded'}"),
    (_of("num_images"), lambda task: f", {task.num_images or 'unknown number of'} test images"),
    (_of("shifted"), lambda task: f", with {', '.join(task.shifted)}" if task.shifted else ""),
    (_of("encoder"), _encoder),
    (_of("weights"), lambda task: _hash("weights", task.weights)),
    (_of("views"), lambda task: f", {_views(task.views)}"),
    (_weight, _described),
    (_of("descriptions"), lambda task: f" {(task.descriptions or '')[-SHOWN_DIGITS:]}"),
    (_of("prompts"), _prompts),
    (_of("precision"), lambda task: f", {task.precision or 'precision not recorded'}"),
    (_of("logit_scale"), lambda task: f", logit scale {task.logit_scale or 'not recorded'}"),
)


def _views(count: int | None) -> str:
    if count is None:
        return "views not recorded"
    return f"{count} view{'s' if count != 1 else ''}"
