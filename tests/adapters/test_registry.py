"""Methods from outside the package: their names, their modules, their code, and the contract."""

import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest
import torch
from torch.nn.functional import normalize

from pyg_graphadapter import EvaluationTask, TrainConfig, evaluate, train
from pyg_graphadapter.adapters import (
    ADAPTERS,
    Adapter,
    AdapterConfig,
    LinearAdapter,
    ZeroShot,
    adapter_class,
    adapter_names,
    is_built_in,
    register_adapter,
    registry,
)
from pyg_graphadapter.adapters.registry import code_identity, describe_error, import_methods
from pyg_graphadapter.settings import setting
from pyg_graphadapter.testing import check_adapter, fake_features

C, D = 6, 16


@dataclass(frozen=True)
class NearestConfig(AdapterConfig):
    power: float = setting(1.0, "exponent", low=0)


class Nearest(Adapter):
    """The nearest class text, with tensors that it registers itself."""

    Config = NearestConfig
    is_trained = False
    inputs = ("text",)

    def __init__(self, text, logit_scale=100.0, **settings):
        super().__init__(logit_scale, self.Config(**settings))
        self.register_buffer("text", normalize(text, dim=1))

    def forward(self, x):
        return self.logit_scale * normalize(x, dim=1) @ self.text.t()


class Trained(LinearAdapter):
    """One trained offset per class text."""

    def __init__(self, text, logit_scale=100.0, **settings):
        super().__init__(text, logit_scale, **settings)
        self.offset = torch.nn.Parameter(torch.zeros_like(self.text))

    def class_weights(self):
        return normalize(self.text + self.offset, dim=1)


class WithDropout(Trained):
    """Noise in training alone."""

    def __init__(self, text, logit_scale=100.0, **settings):
        super().__init__(text, logit_scale, **settings)
        self.dropout = torch.nn.Dropout(0.5)

    def class_weights(self):
        return normalize(self.text + self.dropout(self.offset + 1), dim=1)


@pytest.fixture(autouse=True)
def registry_of_its_own(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr("pyg_graphadapter.adapters.contract._checked", set())


@pytest.fixture(scope="module")
def data():
    return fake_features(num_classes=C, channels=D, shots=4)


@pytest.fixture(scope="module")
def evaluation(data):
    return EvaluationTask.from_file(data, shots=4, seed=1)


# Names ################################################################################


def test_a_registered_method_is_known_by_its_name():
    register_adapter("nearest", Nearest)
    assert adapter_class("nearest") is Nearest
    assert adapter_names() == [*ADAPTERS, "nearest"]
    assert not is_built_in("nearest")
    assert is_built_in("graph_adapter")


def test_registering_again_replaces_the_class_of_the_same_name():
    register_adapter("nearest", Nearest)
    again = type("Nearest", (Nearest,), {"__module__": __name__})
    register_adapter("nearest", again)
    assert adapter_class("nearest") is again
    with pytest.raises(
        ValueError, match=r"belongs to tests.adapters.test_registry.Nearest already"
    ):
        register_adapter("nearest", Trained)


@pytest.mark.parametrize(
    ("name", "cls", "message"),
    [
        ("Nearest", Nearest, "lower-case letters"),
        ("a.b", Nearest, "lower-case letters"),
        ("../a", Nearest, "lower-case letters"),
        ("all", Nearest, "lower-case letters"),
        ("", Nearest, "lower-case letters"),
        ("zero_shot", Nearest, "belongs to a method of this package"),
        ("mine", torch.nn.Linear, "must be a subclass of pyg_graphadapter.adapters.Adapter"),
        ("mine", "Nearest", "must be a subclass"),
    ],
)
def test_names_and_classes_that_are_refused(name, cls, message):
    with pytest.raises(ValueError, match=message):
        register_adapter(name, cls)


def test_an_unknown_method_is_told_how_to_be_registered():
    with pytest.raises(ValueError, match=r"Unknown method 'mine'.*--import MODULE, register_adapt"):
        adapter_class("mine")


def entry(value):
    return EntryPoint("installed", value, registry.ENTRY_POINTS)


def test_an_installed_package_brings_methods(monkeypatch):
    points = [entry("tests.adapters.test_registry:Nearest")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    assert adapter_names()[-1] == "installed"
    assert adapter_class("installed") is Nearest


@pytest.mark.parametrize(
    ("value", "message"),
    [("no_such_module:X", "cannot be imported: ModuleNotFound"), ("json:loads", "must be a subcl")],
)
def test_an_installed_method_that_cannot_be_used(monkeypatch, value, message):
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry(value)])
    with pytest.raises(ValueError, match=message):
        adapter_class("installed")


# Modules ##############################################################################

SOURCE = """
from pyg_graphadapter import register_adapter
from pyg_graphadapter.adapters import ZeroShot
class Mine(ZeroShot):
    def forward(self, x):
        return {body}
register_adapter("mine", Mine)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module into the working directory, and forgets it afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(source, name="own_module_of_the_test"):
        sys.modules.pop(name, None)
        (tmp_path / f"{name}.py").write_text(source)
        return name

    yield write
    sys.modules.pop("own_module_of_the_test", None)


@pytest.mark.parametrize("suffix", ["", ".py"])
def test_a_module_is_imported_by_name_or_path(module, suffix):
    name = module(SOURCE.format(body="super().forward(x)"))
    assert import_methods(f"{name}{suffix}").__name__ == name
    assert adapter_class("mine").__name__ == "Mine"
    import_methods(name)  # once more


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "x = 1 / 0",
            r"cannot be imported: ZeroDivisionError: division by zero \(own_module.*line 1",
        ),
        (
            "import no_such_package",
            r"cannot be imported: ModuleNotFoundError: No module named 'no_s",
        ),
        ("def f(:", "cannot be imported: SyntaxError"),
        ("x = 1", "registers no method: call pyg_graphadapter.register_adapter"),
    ],
)
def test_a_module_that_cannot_be_used(module, source, message):
    with pytest.raises(ValueError, match=message):
        import_methods(module(source))


@pytest.mark.parametrize("name", ["no_such_module_here", "no_such_module_here.part", "no/file.py"])
def test_a_module_that_does_not_exist(module, name):
    with pytest.raises(ValueError, match=r"There is no (module|file)"):
        import_methods(name)


# Code #################################################################################


def test_the_code_of_a_method_is_its_files(module):
    name = module(SOURCE.format(body="super().forward(x)"))
    import_methods(name)
    before = code_identity("mine")
    assert before.startswith("sha256 ")
    assert code_identity("mine") == before
    registry._registered.clear()
    import_methods(module(SOURCE.format(body="-super().forward(x)")))
    assert code_identity("mine") != before
    assert code_identity("zero_shot").startswith("pyg_graphadapter ")


def test_the_code_of_a_base_class_counts(module):
    register_adapter("nearest", Nearest)
    child = type("Child", (Nearest,), {"__module__": "json"})
    register_adapter("child", child)
    assert code_identity("child") != code_identity("nearest")


def test_a_class_without_a_file_is_known_by_its_functions():
    identities = []
    for factor in ("1", "2"):
        space = {"ZeroShot": ZeroShot, "__name__": "no_module"}
        exec(f"class Mine(ZeroShot):\n def forward(self, x): return {factor} * x", space)
        registry._registered.clear()
        register_adapter("mine", space["Mine"])
        identities.append(code_identity("mine"))
    assert identities[0] != identities[1]


def test_an_error_is_told_with_its_line():
    try:
        raise KeyError("a\nb")
    except KeyError as error:
        text = describe_error(error)
    assert text.startswith("KeyError: 'a\\nb' (test_registry.py, line ")
    assert describe_error(ValueError()) == "ValueError"


# The contract #########################################################################


@pytest.mark.parametrize("cls", [Nearest, Trained, WithDropout])
def test_methods_that_keep_the_contract(cls, data, tmp_path):
    check_adapter(cls)
    pytest.importorskip("huggingface_hub")
    from pyg_graphadapter import FewShotClassifier

    register_adapter("mine", cls)
    classifier = FewShotClassifier.fit(data, 2, method="mine", progress=False)
    classifier.save(tmp_path)
    loaded = FewShotClassifier.load(tmp_path)
    x = data.test.mean_views()
    torch.testing.assert_close(loaded.predict_proba(x), classifier.predict_proba(x))


def test_the_estimator_knows_a_registered_method(data):
    from pyg_graphadapter import GraphAdapterClassifier

    register_adapter("nearest", Nearest)
    x, y = data.train.mean_views().numpy(), data.train.y.numpy()
    estimator = GraphAdapterClassifier("nearest", settings={"power": 2.0})
    predicted = estimator.fit(x, y, text_features=data.text.numpy()).predict(x)
    expected = Nearest(data.text)(data.train.mean_views()).argmax(dim=1)
    assert predicted.tolist() == expected.tolist()
    bad = type("Bad", (Nearest,), {"__module__": __name__, "forward": short})
    register_adapter("bad", bad)
    with pytest.raises(ValueError, match="Bad must return one logit per class"):
        GraphAdapterClassifier("bad").fit(x, y)


@pytest.mark.parametrize("name", [name for name in ADAPTERS if name != "coop"])
def test_our_own_methods_keep_it(name):
    check_adapter(adapter_class(name))


def without_logits(self, x):
    return None


def short(self, x):
    return Nearest.forward(self, x)[:, :3]


def one_row(self, x):
    return Nearest.forward(self, x)[0]


def nan(self, x):
    return Nearest.forward(self, x) * float("nan")


def random_state(self, x):
    if not hasattr(self, "state"):
        self.state = torch.rand(C)
    return Nearest.forward(self, x) * self.state


def no_text(self, text, logit_scale=100.0, **settings):
    Adapter.__init__(self, logit_scale, self.Config(**settings))
    self.text = normalize(text, dim=1)


def other_argument(self, texts, logit_scale=100.0, **settings):
    Nearest.__init__(self, texts, logit_scale, **settings)


def half_the_text(self, text, logit_scale=100.0, **settings):
    Nearest.__init__(self, text[:3], logit_scale, **settings)


def noisy(self, x):
    return Nearest.forward(self, x) + torch.rand(C)


def in_place(self, x):
    return Nearest.forward(self, x.mul_(-1))


def whole_numbers(self, x):
    return Nearest.forward(self, x).long()


def negative(self, x):
    return -LinearAdapter.forward(self, x)


@classmethod
def changed_text(cls, task, **settings):
    task.text.mul_(-1)
    return cls(task.text, task.logit_scale)


def together(self, x):
    return Nearest.forward(self, x) * (1 + x.mean())


def further_tensor(self, text, logit_scale=100.0, **settings):
    LinearAdapter.__init__(self, text, logit_scale, {"more": text})


def strange_settings(self):
    return {"power": torch.ones(1)}


def lost(self):
    return torch.ones(self.text.shape, requires_grad=False) * 0 + self.text


@pytest.mark.parametrize(
    ("base", "members", "message"),
    [
        (
            Nearest,
            {"forward": short},
            r"Bad must return one logit per class, \[8, 6\] \(got \[8, 3",
        ),
        (Nearest, {"forward": one_row}, r"\[8, 6\] \(got \[6\]\)"),
        (Nearest, {"forward": without_logits}, r"\(got NoneType\)"),
        (Nearest, {"forward": nan}, "Bad returned logits that are NaN or infinite, in rows 0, 1"),
        (Nearest, {"forward": noisy}, "gives other logits when it is called again"),
        (Nearest, {"forward": together}, "for an image alone .* set is_transductive = True"),
        (Nearest, {"forward": in_place}, "forward of Bad changes the features in place"),
        (Nearest, {"forward": whole_numbers}, "must return floating-point logits"),
        (Trained, {"forward": negative}, "forward of Bad gives other logits than its class_weigh"),
        (Trained, {"__init__": further_tensor}, "'more', which is not in its 'inputs'"),
        (Trained, {"recipe": {"rate": 1}}, "The recipe of Bad has 'rate', which is no training"),
        (Nearest, {"forward": random_state}, "other logits after saving and loading"),
        (Nearest, {"__init__": no_text}, "Bad has 'text' in 'inputs' and no buffer or parameter"),
        (Nearest, {"__init__": other_argument}, "The constructor of Bad must take the names in"),
        (Nearest, {"__init__": half_the_text}, r"'text', \[6, 16\] \(got \[3, 16\]\)"),
        (Nearest, {"settings": strange_settings}, "must be plain numbers, texts and lists"),
        (Nearest, {"is_trained": True}, "has no parameters to train"),
        (Nearest, {"from_task": classmethod(lambda cls, task: 3)}, "must return an Adapter"),
        (Trained, {"class_weights": lost}, "No gradient|does not require grad"),
    ],
)
def test_methods_that_break_it(base, members, message, data):
    bad = type("Bad", (base,), {"__module__": __name__, **members})
    with pytest.raises(ValueError, match=message):
        check_adapter(bad)
    pytest.importorskip("huggingface_hub")
    from pyg_graphadapter import FewShotClassifier

    register_adapter("bad", bad)
    with pytest.raises(ValueError, match=message):
        FewShotClassifier.fit(data, 4, method="bad", select=False, progress=False)


def test_a_task_that_is_changed_is_restored(evaluation):
    from pyg_graphadapter.adapters.contract import build_adapter

    bad = type("Bad", (Nearest,), {"__module__": __name__, "from_task": changed_text})
    before = evaluation.task.text.clone()
    with pytest.raises(ValueError, match="from_task of Bad changes the features in place"):
        build_adapter(bad, evaluation.task, {})
    assert torch.equal(evaluation.task.text, before)
    with pytest.raises(ValueError, match="from_task of Bad changes the features in place"):
        check_adapter(bad)


def test_logits_are_checked_wherever_they_are_used(evaluation):
    adapter = Nearest.from_task(evaluation.task)
    adapter.text = adapter.text * float("nan")
    with pytest.raises(ValueError, match="logits that are NaN"):
        evaluate(adapter, evaluation)


def test_settings_without_bounds():
    @dataclass(frozen=True)
    class Config(AdapterConfig):
        k: int = 3

    check_adapter(type("Plain", (Nearest,), {"__module__": __name__, "Config": Config}))


def test_a_check_changes_no_later_draw(evaluation):
    from pyg_graphadapter.adapters.contract import build_adapter

    weights = []
    for is_checked in (False, True):
        torch.manual_seed(0)
        build = build_adapter if is_checked else lambda cls, task, settings: cls.from_task(task)
        adapter = build(Trained, evaluation.task, {})
        train(adapter, evaluation.task, TrainConfig(epochs=3), progress=False)
        weights.append((adapter.class_weights().detach(), torch.rand(3)))
    for first, second in zip(*weights, strict=True):
        assert torch.equal(first, second)


def test_a_method_that_classifies_images_together_says_so():
    check_adapter(type("Together", (Nearest,), {"forward": together, "is_transductive": True}))
