"""What never happens: code from outside is not run, pipes and devices are not opened, links and
paths do not lead elsewhere."""

import ast
import io
import json
import os
import pickle
import shutil
import socket
import tarfile
import warnings
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import pyg_graphadapter
from pyg_graphadapter import FewShotClassifier, GraphAdapterClassifier
from pyg_graphadapter.cli import app
from pyg_graphadapter.data import (
    Draw,
    UnreadableImageError,
    decode_image,
    list_images,
    load_draw,
    load_images,
    save_draw,
)
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.encoder import Encoder
from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.testing import fake_features, fake_images
from tests.results import result

pytestmark = pytest.mark.timeout(60)  # whoever waits for a pipe waits for ever
PACKAGE = Path(pyg_graphadapter.__file__).parent


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")


def run(*words, codes=(1,)):
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # the command prints them
        outcome = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), outcome.exception
    assert outcome.exit_code in codes, outcome.output
    assert "Traceback" not in outcome.output
    return " ".join(outcome.output.split())


# The source ############################################################################

MODULES = (
    "pickle", "cPickle", "_pickle", "marshal", "shelve", "dbm", "dill", "cloudpickle", "joblib",
    "subprocess", "pty", "pexpect", "yaml", "ruamel", "code", "codeop", "ctypes", "telnetlib",
    "ftplib", "torch.hub", "torch_geometric.io", "torch.package", "runpy", "imp", "xml",
)  # fmt: skip
CALLS = (
    "eval", "exec", "compile", "__import__", "extractall", "extract", "unpack_archive",
    "make_archive", "system", "popen", "posix_spawn", "fromfile", "download_url", "extract_zip",
    "extract_tar", "load_state_dict_from_url", "execfile", "memmap", "full_load", "unsafe_load",
    "fs_torch_load", "jit_load", "read_pickle", "to_pickle", "load_adapter",
)  # fmt: skip
STARTS = ("os.exec", "os.spawn", "torch.load", "torch.jit", "torch.save", "np.load", "numpy.load",
          "torch.serialization", "re.template", "pd.read_pickle", "pandas.read_pickle",
          "importlib.reload", "ssl._create_unverified", "torch.export.load",
          "joblib.")  # fmt: skip
VALUES = {  # of arguments
    "allow_pickle": "False",
    "weights_only": "True",
    "trust_remote_code": "False",
    "use_safetensors": "True",
    "shell": "False",
    "verify": "True",
    "strict": "True",
}
# Whoever imports by a name imports our own modules, packages that we name, or what --import says:
IMPORTERS = ("cli/__init__.py", "lazy.py", "adapters/registry.py", "optional.py")


def forbidden_in(source, name):
    """What a source file does that this package never does, with its line."""
    tree = ast.parse(source)
    allowed = [node.func for node in ast.walk(tree) if _is_one_call(node, name)][:1]
    for node in ast.walk(tree):
        if node in allowed:
            continue
        for finding in [*_imports(node, name), *_uses(node, name), *_calls(node, name)]:
            yield f"{name}:{node.lineno} {finding}"


# The one call that reads tensors which a user names for the command data import, and the one that
# writes a plain tensor in the format that open_clip's users load:
ONE_CALL = {
    "importing/torch_file.py": 'torch.load(stream, map_location="cpu", weights_only=True)',
    "classifier/export_formats.py": (
        "torch.save((scale * head.class_weights.t()).contiguous(), buffer)"
    ),
}


def _is_one_call(node, name):
    if name not in ONE_CALL or not isinstance(node, ast.Call):
        return False
    return ast.dump(node) == ast.dump(ast.parse(ONE_CALL[name], mode="eval").body)


def _imports(node, name):
    if isinstance(node, ast.Import | ast.ImportFrom):
        base = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        for alias in node.names:
            module = ".".join([*base, alias.name])
            is_death_signal = module == "ctypes" and name == "interrupts.py"
            is_allowed = is_death_signal or module == "torch.jit.is_tracing"
            is_forbidden = any(f"{module}.".startswith(f"{other}.") for other in MODULES)
            if (is_forbidden or module.startswith(STARTS)) and not is_allowed:
                yield f"imports {module}"


def _uses(node, name):
    if isinstance(node, ast.Attribute) and ast.unparse(node).startswith(STARTS):
        yield f"uses {ast.unparse(node)}"


def _calls(node, name):
    if not isinstance(node, ast.Call):
        return
    full = ast.unparse(node.func)
    called = full.rpartition(".")[2]
    is_of_a_module = called == "eval" and full != "eval" and not node.args  # torch.nn.Module.eval
    if called in CALLS and not is_of_a_module and full not in ("re.compile", "torch.compile"):
        yield f"calls {full}"
    if called == "import_module" and name not in IMPORTERS:
        yield "imports by a name"
    for argument in node.keywords:
        if argument.arg not in VALUES or (argument.arg == "strict" and called != "load_state_dict"):
            continue
        if ast.unparse(argument.value) != VALUES[argument.arg]:
            yield f"passes {ast.unparse(argument)}"


def test_the_source_runs_no_code_from_outside():
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 100
    assert [
        finding
        for path in files
        for finding in forbidden_in(
            path.read_text(encoding="utf-8"), path.relative_to(PACKAGE).as_posix()
        )
    ] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import yaml",
        "import subprocess as s",
        "from torch import hub",
        "from torch_geometric.io import fs",
        "torch.load(f)",
        "torch.load(f, weights_only=True)",
        "from torch import load",
        "from numpy import load as read",
        "x = torch.load",
        "np.load(f)",
        "np.lib.format.read_array(f, allow_pickle=True)",
        "np.lib.format.read_array(f, allow_pickle=flag)",
        "eval(x)",
        "exec(x)",
        "compile(x, y, z)",
        "__import__(x)",
        "importlib.import_module(x)",
        "archive.extractall(path)",
        "tar.extract(member)",
        "shutil.unpack_archive(x)",
        "os.system(x)",
        "os.popen(x)",
        "os.execv(x)",
        "run(x, shell=True)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "AutoModel.from_pretrained(x, trust_remote_code=trust)",
        "AutoModel.from_pretrained(x, use_safetensors=False)",
        "get(x, verify=False)",
        "model.load_state_dict(x, strict=False)",
    ],
)
@pytest.mark.parametrize("name", ["a.py", "importing/torch_file.py"])
def test_the_source_test_sees(source, name):
    assert len(list(forbidden_in(source, name))) >= 1


def test_the_source_test_allows_one_call():
    call = "torch.load(stream, map_location='cpu', weights_only=True)"
    assert list(forbidden_in(call, "importing/torch_file.py")) == []
    assert len(list(forbidden_in(f"{call}; {call}", "importing/torch_file.py"))) == 1
    assert (
        len(list(forbidden_in(f"load = {call.partition('(')[0]}", "importing/torch_file.py"))) == 1
    )
    assert len(list(forbidden_in(call, "importing/readers.py"))) == 1


def test_transformers_is_asked_for_nothing_but_data():
    """Every ``from_pretrained`` of transformers gets ``trust_remote_code=False``."""
    source = (PACKAGE / "encoding/pretrained.py").read_text(encoding="utf-8")
    assert 'where["trust_remote_code"] = False' in source
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.unparse(node) if isinstance(node, ast.Call) else ""
            if text.startswith("Auto") and ".from_pretrained(" in text:
                safe = ("**where", "trust_remote_code=False")
                assert any(argument in text for argument in safe), f"{path}: {text}"


# Payloads ##############################################################################


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, flag):
        self.flag = str(flag)

    def __reduce__(self):
        return os.mkdir, (self.flag,)


@pytest.fixture
def flag(tmp_path):
    """The folder that a payload makes; it must not be there at the end."""
    path = tmp_path / "FLAG"
    yield path
    assert not path.exists(), "a payload was run"


@pytest.fixture
def payloads(flag):
    """Files that run code when they are read the wrong way, by the way."""
    array = io.BytesIO()
    np.save(array, np.array([Payload(flag)], dtype=object), allow_pickle=True)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("text_features", "train_features", "train_labels", "features", "class_names"):
            file.writestr(f"{name}.npy", array.getvalue())
    saved = io.BytesIO()
    torch.save({"a": Payload(flag)}, saved)
    yaml = f"!!python/object/apply:os.mkdir ['{flag}']\n"
    python = f"import os\nos.mkdir({str(flag)!r})\n"
    return {
        "pickle": pickle.dumps(Payload(flag)),
        "pickle of protocol 0": pickle.dumps(Payload(flag), protocol=0),
        "array": array.getvalue(),
        "arrays": archive.getvalue(),
        "torch": saved.getvalue(),
        "yaml": yaml.encode(),
        "front matter": f"---\n{yaml}---\n".encode(),
        "python": python.encode(),
        "template": f"{{{{ 1 }}}} {{0}} __import__('os').mkdir('{flag}')".encode(),
    }


WAYS = (
    "pickle",
    "pickle of protocol 0",
    "array",
    "arrays",
    "torch",
    "yaml",
    "front matter",
    "python",
    "template",
)


@pytest.mark.parametrize(("way", "load"), [
    ("pickle", pickle.loads),
    ("pickle of protocol 0", pickle.loads),
    ("array", lambda content: np.load(io.BytesIO(content), allow_pickle=True)),
    ("arrays", lambda content: np.load(io.BytesIO(content), allow_pickle=True)["features"]),
    ("torch", lambda content: torch.load(io.BytesIO(content), weights_only=False)),
    ("python", lambda content: exec(content)),
])  # fmt: skip
def test_the_payloads_work(payloads, flag, way, load):
    load(payloads[way])
    assert flag.is_dir()
    flag.rmdir()


@pytest.fixture
def saved(tmp_path):
    """A feature file, and a classifier that was fitted to it."""
    file = fake_features(num_classes=4, channels=8, shots=4, tests=5)
    file.save(tmp_path / "f.npz")
    fitted = FewShotClassifier.fit(file, shots=1, method="zero_shot", progress=False)
    fitted.save(tmp_path / "c")
    return tmp_path


@pytest.mark.filterwarnings("default:.*keys that are not read")
@pytest.mark.parametrize("way", WAYS)
def test_payloads_as_features(saved, payloads, flag, way):
    for suffix in (
        ".npz",
        ".safetensors",
        ".pt",
        ".pth",
        ".pkl",
        ".bin",
        ".npy",
        ".ckpt",
        ".joblib",
    ):
        path = saved / f"x{suffix}"
        path.write_bytes(payloads[way])
        if suffix != ".npy":  # which is no feature file, and could be a list of images
            assert path.name in run("fit", path, "--out", saved / "d")
            assert path.name in run("compare", path, "--out", saved / "e")
        said = run("predict", saved / "c", path)
        assert path.name in said or "fitted on features" in said or suffix == ".npy"
        with pytest.raises((ValueError, OSError)):
            FeatureFile.load(path)
    assert not (saved / "d").exists()


@pytest.mark.parametrize("way", WAYS)
def test_payloads_as_lists_results_and_settings(saved, payloads, flag, way, checkpoint):
    model = ("--model", checkpoint("clip"), "--out", saved / "d.npz")
    for suffix in (".csv", ".json", ".jsonl", ".tar", ".parquet", ".txt", ".yaml", ".py", ""):
        path = saved / f"x{suffix}"
        path.write_bytes(payloads[way])
        run("encode", path, *model)
        run("data", "look", path)
    fit = ("fit", saved / "f.npz", "--shots", 1, "--out", saved / "d")
    run(*fit, "--config", saved / "x.json", codes=(2,))
    (saved / "results").mkdir()
    shutil.copy(saved / "x.json", saved / "results")
    assert "x.json" in run("report", saved / "results", "--out", saved / "r")
    (saved / "results" / "x.json").write_text(json.dumps(result()))
    published = ("--published", saved / "x.json")
    assert "x.json" in run("report", saved / "results", "--out", saved / "r", *published)
    with pytest.raises(ValueError, match=r"x\.json"):
        load_draw(saved / "x.json")


@pytest.mark.parametrize("way", WAYS)
def test_payloads_as_a_classifier(saved, payloads, flag, way):
    predict = ("predict", saved / "c", saved / "f.npz")
    for name in (
        "README.md",
        "config.json",
        "pytorch_model.bin",
        "x.py",
        "preprocessor_config.json",
    ):
        (saved / "c" / name).write_bytes(payloads[way])
    run(*predict, codes=(0,))  # these are not read
    for name in ("classifier.json", "classifier.safetensors"):
        content = (saved / "c" / name).read_bytes()
        (saved / "c" / name).write_bytes(payloads[way])
        assert str(saved / "c") in run(*predict)
        with pytest.raises(ValueError, match="classifier"):
            FewShotClassifier.load(saved / "c")
        (saved / "c" / name).write_bytes(content)
    card = json.loads((saved / "c" / "classifier.json").read_text())
    for key in ("method", "settings", "encoding", "weights"):
        text = payloads[way].decode("latin-1")
        value = {"conv": text, "model": text} if key in ("settings", "encoding") else text
        (saved / "c" / "classifier.json").write_text(json.dumps({**card, key: value}))
        run(*predict)


@pytest.mark.parametrize("way", WAYS)
def test_payloads_as_images(saved, payloads, flag, way):
    folder = fake_images(saved / "images")
    for suffix in (".png", ".jpg", ".gif", ".webp", ".tif", ".bmp"):
        path = sorted(folder.iterdir())[0] / f"x{suffix}"
        path.write_bytes(payloads[way])
        with pytest.raises(UnreadableImageError, match=path.name):
            decode_image(path)
    (folder / "images.py").write_bytes(payloads["python"])  # a script of old data sets
    (folder / "dataset_infos.json").write_bytes(payloads[way])
    (folder / "README.md").write_bytes(payloads["front matter"])
    run("data", "look", folder, codes=(0,))


@pytest.mark.parametrize("way", ["pickle", "torch"])
def test_payloads_as_a_model(saved, payloads, flag, way, checkpoint):
    images = fake_images(saved / "images")
    encode = ("encode", images, "--out", saved / "d.npz", "--model")
    model = saved / "model"
    shutil.copytree(checkpoint("clip"), model)
    weights = model / "model.safetensors"
    (model / "pytorch_model.bin").write_bytes(payloads[way])
    weights.rename(saved / "weights")
    assert "model" in run(*encode, model)  # without falling back on the pickle
    weights.write_bytes(payloads[way])
    run(*encode, model)
    (saved / "weights").rename(weights)
    config = json.loads((model / "config.json").read_text())
    (model / "mine.py").write_bytes(payloads["python"])
    config["auto_map"] = {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}
    for kind in ("clip", "mine"):
        (model / "config.json").write_text(json.dumps({**config, "model_type": kind}))
        run(*encode, model, codes=(0, 1))
    for name in ("tokenizer_config.json", "preprocessor_config.json"):
        if (model / name).exists():
            content = json.loads((model / name).read_text())
            kinds = {"AutoTokenizer": ["mine.T", "mine.T"], "AutoImageProcessor": "mine.P"}
            (model / name).write_text(json.dumps({**content, "auto_map": kinds}))
    (model / "config.json").write_text(json.dumps({**config, "model_type": "clip"}))
    run(*encode, model, codes=(0, 1))


# Tars ##################################################################################


def tar_of(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.name = name
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                archive.addfile(member)
    return path


def member_of(kind, target=""):
    member = tarfile.TarInfo()
    member.type, member.linkname = kind, str(target)
    return member


@pytest.fixture
def png(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


@pytest.mark.filterwarnings("ignore:.*left out")
@pytest.mark.filterwarnings("ignore:.*Equal images")
def test_only_images_and_labels_of_a_tar_are_read(tmp_path, payloads, flag, png, caplog):
    content = png.read_bytes()
    others = {
        f"0.{suffix}": payloads[way]
        for suffix, way in (("pth", "torch"), ("pt", "torch"), ("pyd", "pickle"), ("pkl", "pickle"),
                            ("pickle", "pickle"), ("npy", "array"), ("npz", "arrays"),
                            ("cbor", "pickle"), ("ten", "pickle"), ("yaml", "yaml"),
                            ("mp", "pickle"), ("py", "python"), ("safetensors", "pickle"))
    }  # fmt: skip
    links = {
        "2.png": member_of(tarfile.SYMTYPE, png),
        "3.png": member_of(tarfile.LNKTYPE, "0.png"),
        "4.png": member_of(tarfile.FIFOTYPE),
        "5.png": member_of(tarfile.CHRTYPE),
        "6.cls": member_of(tarfile.SYMTYPE, "/etc/passwd"),
    }
    up = {"../../up.png": content, "../../up.cls": b"a", "/abs.png": content, "/abs.cls": b"b"}
    samples = {"0.png": content, "0.cls": b"a", "1.png": content, "1.cls": b"b"}
    tar_of(tmp_path / "t.tar", {**others, **links, **samples, **up})
    before = {path for path in tmp_path.rglob("*") if "hf" not in path.parts}
    loaded = load_images(tmp_path / "t.tar")["train"]
    assert len(loaded) == 4  # the names of members are no paths
    assert {row["bytes"] for row in loaded["image"]} == {content}
    assert {path for path in tmp_path.rglob("*") if "hf" not in path.parts} == before
    assert "links, devices and sparse files: 5" in caplog.text
    assert ".pth: 1" in caplog.text


@pytest.mark.parametrize("way", ["pickle", "torch", "yaml", "python"])
def test_payloads_as_members_of_a_tar(tmp_path, payloads, flag, png, way):
    for name in ("0.png", "0.cls", "0.json", "0.txt", "classnames.txt"):
        members = {
            "0.png": png.read_bytes(),
            "0.cls": b"0",
            "1.png": png.read_bytes(),
            "1.cls": b"1",
        }
        if name == "classnames.txt":
            (tmp_path / name).write_bytes(payloads[way])
        else:
            members[name] = payloads[way]
        tar_of(tmp_path / "t.tar", members)
        run("data", "look", tmp_path / "t.tar", codes=(0, 1))


# Pipes, sockets and devices #############################################################


def make_pipe(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as made, pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)  # whose path may be too long for a socket
        made.bind(path.name)


def make_device(path):
    path.symlink_to("/dev/zero")  # which never ends


KINDS = {"pipe": make_pipe, "socket": make_socket, "device": make_device}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_what_is_no_regular_file_is_not_opened(saved, make, checkpoint):
    model = ("--model", checkpoint("clip"))
    out = ("--out", saved / "d")
    for suffix in (".npz", ".safetensors"):
        path = saved / f"x{suffix}"
        make(path)
        assert path.name in run("fit", path, *out)
        assert path.name in run("predict", saved / "c", path)
    for suffix in (".csv", ".json", ".jsonl", ".tar", ".parquet", ".png", ""):
        path = saved / f"x{suffix}"
        make(path)
        for words in (["data", "look", path], ["encode", path, *model, "--out", saved / "d.npz"]):
            assert path.name in run(*words)
    fit = ("fit", saved / "f.npz", "--shots", 1, *out)
    assert "x.json" in run(*fit, "--config", saved / "x.json", codes=(2,))
    make(saved / "x.py")
    assert "x.py" in run("methods", "--import", saved / "x.py", codes=(2,))
    with pytest.raises(ValueError, match=r"x\.json"):
        load_draw(saved / "x.json")
    for name in ("classifier.json", "classifier.safetensors"):
        (saved / "c" / name).rename(saved / "kept")
        make(saved / "c" / name)
        assert "classifier" in run("predict", saved / "c", saved / "f.npz")
        (saved / "c" / name).unlink()
        (saved / "kept").rename(saved / "c" / name)

    assert "classifier" in run("predict", saved / "x", saved / "f.npz")
    (saved / "results").mkdir()
    make(saved / "results" / "r.json")
    assert "r.json" in run("report", saved / "results", "--out", saved / "r")
    (saved / "results" / "r.json").unlink()
    (saved / "results" / "r.json").write_text(json.dumps(result()))
    said = run("report", saved / "results", "--out", saved / "r", "--published", saved / "x.json")
    assert "x.json" in said
    assert not (saved / "d").exists()
    assert not (saved / "r").exists()


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_what_is_no_regular_file_among_images(tmp_path, make, checkpoint):
    images = fake_images(tmp_path / "images", splits={"train": 2, "test": 1})
    folder = images / "test" / "class_0"
    make(folder / "x.png")
    with pytest.raises(UnreadableImageError, match=r"x\.png"):
        decode_image(folder / "x.png")
    model = ("--model", checkpoint("clip"))
    run("fit", images, *model, "--shots", 1, "--no-select", "--out", tmp_path / "c", codes=(0,))
    said = run("predict", tmp_path / "c", folder, codes=(0, 1))
    assert "class_0/0.jpg " in said
    assert "x.png" in said  # skipped, or a link that leads out
    assert "Skipped" in run("predict", tmp_path / "c", folder, "--follow-links", codes=(0, 1))
    assert "x.png" in run("predict", tmp_path / "c", folder / "x.png", codes=(0, 1))
    (tmp_path / "list.csv").write_text("path,label\nimages/test/class_0/x.png,a\n")
    assert "x.png" in run("data", "look", tmp_path / "list.csv")
    draw = Draw(1, 1, ("a", "b"), (("x.png", 0), ("y.png", 1)), ())
    save_draw(draw, tmp_path / "d.json", folder)
    assert "x.png" in run("data", "look", tmp_path / "d.json")


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_what_is_no_regular_file_in_a_model(tmp_path, make, checkpoint):
    images = fake_images(tmp_path / "images")
    encode = ("encode", images, "--out", tmp_path / "d.npz", "--model")
    make(tmp_path / "x")
    run(*encode, tmp_path / "x")
    for name in ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"):
        model = tmp_path / f"model {name}"
        shutil.copytree(checkpoint("clip"), model)
        (model / name).unlink(missing_ok=True)
        make(model / name)
        assert "model" in run(*encode, model)


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_what_is_no_regular_file_beside_archives(tmp_path, make, png):
    folder = tmp_path / "tars"
    folder.mkdir()
    content = png.read_bytes()
    tar_of(folder / "a.tar", {"0.png": content, "0.cls": b"0", "1.png": content, "1.cls": b"1"})
    make(folder / "b.tar")
    run("data", "look", folder, codes=(0,))
    make(folder / "classnames.txt")
    assert "classnames.txt" in run("data", "look", folder)
    root = tmp_path / "root" / "imagenet"
    (root / "images").mkdir(parents=True)
    make(root / "classnames.txt")
    assert "classnames.txt" in run("data", "look", tmp_path / "root")


# Links and paths #######################################################################


@pytest.fixture
def linked(tmp_path):
    """A folder of images with links: to images inside and outside, to nothing, and in a loop."""
    images = fake_images(tmp_path / "images")
    outside = tmp_path / "outside"
    outside.mkdir()
    Image.new("RGB", (8, 8), "blue").save(outside / "secret.png")
    folder = images / "class_0"
    inside = next(path for path in (images / "class_1").iterdir())
    (folder / "inside.png").symlink_to(inside)
    (folder / "outside.png").symlink_to(outside / "secret.png")
    (folder / "relative.png").symlink_to("../../outside/secret.png")
    (folder / "twice.png").symlink_to("outside.png")
    (folder / "deep").symlink_to(outside)
    (folder / "up").symlink_to("..")
    (folder / "self").symlink_to("self")
    return images


def names_of(images):
    return {Path(row["path"]).name for row in images["train"]["image"]}


@pytest.mark.filterwarnings("ignore:.*Equal images")
def test_links_are_followed_inside_alone(linked):
    with pytest.warns(UserWarning, match=r"Left out: .*3 links that lead out of the folder"):
        names = names_of(load_images(linked))
    assert "inside.png" in names
    assert names.isdisjoint({"outside.png", "relative.png", "twice.png", "secret.png"})
    with pytest.warns(UserWarning, match=r"no image by its name \(class_0/self\)"):
        followed = names_of(load_images(linked, follow_links=True))
    assert {"inside.png", "outside.png", "relative.png", "twice.png", "secret.png"} <= followed
    with pytest.warns(UserWarning, match="lead out of"):
        paths = list_images([linked])
    assert {path.name for path in paths}.isdisjoint({"outside.png", "secret.png", "twice.png"})
    with pytest.warns(UserWarning, match="no image by its name"):
        paths = list_images([linked], follow_links=True)
    assert "secret.png" in {path.name for path in paths}


@pytest.mark.filterwarnings("ignore:.*left out")
def test_links_to_folders_of_classes_and_loops(linked, tmp_path):
    (linked / "class_x").symlink_to(tmp_path / "outside")
    assert "class_x" in run("data", "look", linked, codes=(1,))
    assert "class_x" in run("data", "look", linked, "--follow-links", codes=(0,))
    (linked / "class_x").unlink()
    (linked / "class_0" / "loop.png").symlink_to("loop.png")
    with pytest.raises(UnreadableImageError, match=r"loop\.png"):
        decode_image(linked / "class_0" / "loop.png")
    run("data", "look", linked, codes=(0,))
    run("data", "look", linked / "class_0" / "self")
    (tmp_path / "via").symlink_to(linked)  # the folder itself may be a link
    run("data", "look", tmp_path / "via", codes=(0,))


@pytest.mark.filterwarnings("ignore:.*Equal images")
def test_links_to_archives(tmp_path, png):
    content = png.read_bytes()
    samples = {"0.png": content, "0.cls": b"0", "1.png": content, "1.cls": b"1"}
    folder = tmp_path / "tars"
    folder.mkdir()
    tar_of(tmp_path / "outside.tar", samples)
    (folder / "a.tar").symlink_to(tmp_path / "outside.tar")
    with pytest.raises(ValueError, match=r"tars has no .* Left out: 1 link that leads out of"):
        load_images(folder)
    assert len(load_images(folder, follow_links=True)["train"]) == 2


@pytest.mark.parametrize(
    "name",
    [
        "{tmp}/outside/secret.png",
        "../outside/secret.png",
        "a/../../outside/secret.png",
        "a/..",
        "..\\outside\\secret.png",
        "a\\..\\..\\outside\\secret.png",
        "C:\\outside\\secret.png",
        "C:secret.png",
        "c:/outside/secret.png",
        "\\outside\\secret.png",
        "\\\\server\\share\\secret.png",
        "//server/share/secret.png",
        "a/nul\0.png",
        "link.png",
        "link/secret.png",
    ],
)
def test_draws_do_not_lead_out_of_their_root(tmp_path, name):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "a").mkdir(parents=True)
    outside.mkdir()
    for path in (outside / "secret.png", root / "own.png", root / "C:secret.png"):
        Image.new("RGB", (8, 8)).save(path)
    for escaped in ("..\\outside\\secret.png", "\\outside\\secret.png", "C:\\outside\\secret.png"):
        Image.new("RGB", (8, 8)).save(root / escaped)  # a plain name here, a path on Windows
    (root / "link.png").symlink_to(outside / "secret.png")
    (root / "link").symlink_to(outside)
    name = name.format(tmp=tmp_path)
    for part in ("train", "val"):
        parts = {"train": (("own.png", 0),), "val": ()} | {part: (("own.png", 0), (name, 1))}
        save_draw(Draw(1, 1, ("a", "b"), **parts), tmp_path / "d.json", root)
        said = run("data", "look", tmp_path / "d.json")
        assert "d.json has the path" in said
        assert "leads out of the root" in said
    if name.startswith("link"):
        loaded = load_draw(tmp_path / "d.json", follow_links=True)
        assert len(loaded["val"]) == 2


@pytest.mark.parametrize("root", ["{tmp}", "C:\\data", "\\\\server\\share", "\\data", "/", "nul\0"])
def test_the_root_of_a_draw_is_relative(tmp_path, root):
    save_draw(Draw(1, 1, ("a", "b"), (("own.png", 0),), ()), tmp_path / "d.json")
    content = json.loads((tmp_path / "d.json").read_text())
    content["root"] = root.format(tmp=tmp_path)
    (tmp_path / "d.json").write_text(json.dumps(content))
    assert "is absolute" in run("data", "look", tmp_path / "d.json")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"train": None}, "'train' must be a list"),
        ({"train": []}, "'train' must be at least 1 long"),
        ({"train": [["own.png"]]}, "'train'[0] must be a list of 2"),
        ({"train": [["own.png", "0"]]}, "must be a whole number"),
        ({"train": [["own.png", 0.5]]}, "must be a whole number"),
        ({"train": [["own.png", True]]}, "must be a whole number"),
        ({"train": [["own.png", -1]]}, "must be at least 0"),
        ({"train": [["own.png", 2]]}, "the label 2 and 2 class names"),
        ({"val": [["own.png", 2**70]]}, "'val'[0][1] must be"),
        ({"train": [["", 0]]}, "'train'[0][0] must be"),
        ({"train": [["n" * 5000, 0]]}, "'train'[0][0] must be"),
        ({"train": [[7, 0]]}, "'train'[0][0] must be text"),
        ({"class_names": "ab"}, "'class_names' must be a list"),
        ({"class_names": ["a"]}, "'class_names' must be at least 2 long"),
        ({"class_names": ["a", 1]}, "'class_names'[1] must be text"),
        ({"root": 5}, "'root' must be text"),
        ({"root": None}, "'root' must be text"),
        ({"shots": 0}, "'shots' must be at least 1"),
        ({"seed": 1.5}, "'seed' must be a whole number"),
        ({"format": "pyg_graphadapter/draw/9"}, "its format is 'pyg_graphadapter/draw/9'"),
    ],
)
def test_draws_of_wrong_types(tmp_path, png, changes, reason):
    png.rename(tmp_path / "own.png")
    draw = Draw(1, 1, ("a", "b"), (("own.png", 0), ("own.png", 1)), ())
    save_draw(draw, tmp_path / "d.json")
    assert len(load_draw(tmp_path / "d.json")["train"]) == 2
    content = json.loads((tmp_path / "d.json").read_text())
    (tmp_path / "d.json").write_text(json.dumps({**content, **changes}))
    said = run("data", "look", tmp_path / "d.json")
    assert "d.json cannot be read as a draw of images" in said
    assert reason in said


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"cat\xff\ndog\n", "it is not UTF-8 text (byte 3)"),
        (b"cat\n\ndog\n", "[1] must be at least 1 long"),
        (b"cat\n", "1 names in classnames.txt and the label 1"),
        (b"a" * (64 * 2**20 + 1), "bytes, and at most"),
    ],
)
def test_lists_of_class_names_that_cannot_be_read(tmp_path, png, content, reason):
    image = png.read_bytes()
    tar_of(tmp_path / "a.tar", {"0.png": image, "0.cls": b"0", "1.png": image, "1.cls": b"1"})
    (tmp_path / "classnames.txt").write_bytes(content)
    said = run("data", "look", tmp_path / "a.tar")
    assert "classnames.txt" in said
    assert reason in said


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff", "it is not UTF-8 text"),
        (b"shots = 1\nshots = 2\n", "cannot be read as a TOML file of settings"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
        (b"shots = inf\n", "must be a finite number"),
        (b"shots = 1979-05-27\n", "must be a number"),
        (b"# " + b"a" * 2**20, "and at most 1,048,576 are read"),
    ],
)
def test_settings_that_cannot_be_read(saved, content, reason):
    (saved / "x.toml").write_bytes(content)
    fit = ("fit", saved / "f.npz", "--out", saved / "d", "--config")
    said = run(*fit, saved / "x.toml", codes=(2,))
    assert "x.toml" in said
    assert reason in said
    assert "There is no TOML file" in run(*fit, saved / "none.toml", codes=(2,))


# Arguments #############################################################################


@pytest.mark.parametrize("name", ["trust_remote_code", "use_auth_token", "pickle", "weights_only"])
def test_unknown_arguments_are_refused(saved, checkpoint, name):
    unknown = {name: True}
    for load in (Encoder.from_pretrained, FewShotClassifier.from_pretrained):
        with pytest.raises(ValueError, match=name):
            load(checkpoint("clip"), **unknown)
    file = FeatureFile.load(saved / "f.npz")
    for call in (
        lambda: FewShotClassifier.load(saved / "c", **unknown),
        lambda: FewShotClassifier.fit(file, shots=1, progress=False, **unknown),
        lambda: FeatureFile.load(saved / "f.npz", **unknown),
        lambda: load_images("builtin", **unknown),
        lambda: load_draw(saved / "d.json", **unknown),
        lambda: EncodingConfig(**unknown),
        lambda: GraphAdapterClassifier(**unknown),
    ):
        with pytest.raises((ValueError, TypeError), match=name):
            call()
    option = f"--{name.replace('_', '-')}"
    for words in (["fit", saved / "f.npz"], ["compare", saved / "f.npz"], ["encode", "builtin"]):
        assert option in run(*words, "--out", saved / "d", option, codes=(2,))
    assert option in run("predict", saved / "c", saved / "f.npz", option, codes=(2,))
    (saved / "x.toml").write_text(f"{name} = true\n")
    fit = ("fit", saved / "f.npz", "--out", saved / "d")
    assert name in run(*fit, "--config", saved / "x.toml", codes=(2,))
    assert name in run(*fit, "--set", f"{name}=true", codes=(2,))


def test_trust_is_refused_with_the_reason(saved, checkpoint):
    for load in (Encoder.from_pretrained, FewShotClassifier.from_pretrained):
        with pytest.raises(ValueError, match="code that comes with a model is never run"):
            load(checkpoint("clip"), trust_remote_code=True)


def test_a_card_of_the_hub_brings_no_arguments(saved):
    """``config.json`` beside a classifier is what the hub's mixin reads arguments from."""
    config = {"trust_remote_code": True, "method": "x", "revision": "y"}
    (saved / "c" / "config.json").write_text(json.dumps(config))
    assert FewShotClassifier.from_pretrained(saved / "c").method == "zero_shot"
