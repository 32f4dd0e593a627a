"""Progress bars of this package and of the libraries that it uses."""

import io
import os
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr

import pytest

from pyg_graphadapter.progress import (
    datasets_bars,
    hidden_bars,
    obeys_progress,
    progress_bar,
    transformers_bars,
)

datasets = pytest.importorskip("datasets")
transformers = pytest.importorskip("transformers")
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, progress_bar_states  # noqa: E402
from transformers.utils import logging  # noqa: E402


class Terminal(io.StringIO):
    def isatty(self):
        return True


@contextmanager
def on_a_terminal():
    """A terminal in the place of the error stream, which pytest sets again after fixtures."""
    with redirect_stderr(Terminal()) as stream:
        yield stream


def states():
    return (
        logging.is_progress_bar_enabled(),
        datasets.utils.are_progress_bars_disabled(),
        dict(progress_bar_states),
    )


@pytest.fixture(params=[True, False])
def settings(request):
    """The user's settings, with one of a group of the hub, and the default afterwards."""
    before = states()
    if request.param:
        logging.enable_progress_bar()
        datasets.enable_progress_bars()
    else:
        logging.disable_progress_bar()
        datasets.disable_progress_bars()
    progress_bar_states["own.group"] = request.param
    yield states()
    logging.enable_progress_bar() if before[0] else logging.disable_progress_bar()
    datasets.disable_progress_bars() if before[1] else datasets.enable_progress_bars()
    progress_bar_states.clear()
    progress_bar_states.update(before[2])


@pytest.mark.parametrize("bars", [transformers_bars, datasets_bars])
def test_bars_of_libraries_are_hidden_and_their_settings_stay(settings, bars):
    def fails():
        with bars(progress=False):
            assert are_progress_bars_disabled()
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert states() == settings


@pytest.mark.parametrize("bars", [transformers_bars, datasets_bars])
def test_on_a_terminal_the_settings_of_the_user_count(settings, bars):
    with on_a_terminal():
        with bars():
            assert states() == settings
        with hidden_bars(), bars():
            assert are_progress_bars_disabled()
    assert states() == settings


def test_without_a_terminal_they_are_hidden(settings):
    with redirect_stderr(io.StringIO()), transformers_bars(), datasets_bars():
        assert states()[:2] == (False, True)
    assert states() == settings


def test_bars_of_the_package():
    def drawn(progress):
        terminal = Terminal()
        for _ in progress_bar(range(3), progress=progress, file=terminal):
            pass
        return "3/3" in terminal.getvalue()

    assert drawn(True)
    assert not drawn(False)
    with hidden_bars():
        assert not drawn(True)
    with hidden_bars(False):
        assert drawn(True)

    @obeys_progress
    def work(*, progress=True):
        return drawn(True)

    assert work()
    assert not work(progress=False)
    assert drawn(True)


PROGRAM = """
import sys
from pyg_graphadapter import Encoder, EncodingConfig, FewShotClassifier
from pyg_graphadapter.data import load_images
progress = sys.argv[1] == "shown"
encoding = EncodingConfig(cache=False)
classifier = FewShotClassifier.fit(sys.argv[2], model="builtin", encoding=encoding, shots=2,
                                   progress=progress)
classifier.save(sys.argv[3])
classifier = FewShotClassifier.load(sys.argv[3])
classifier.predict([f"{sys.argv[2]}/train/class_0/0.jpg"], progress=progress)
load_images(sys.argv[2], progress=progress)
Encoder.from_pretrained("builtin", progress=progress)
"""


@pytest.mark.parametrize("progress", ["shown", "hidden"])
def test_on_a_terminal(tmp_path, progress):
    """What a terminal shows of a fit, a prediction and the loading of a model."""
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    from pyg_graphadapter.testing import fake_images

    images = fake_images(tmp_path / "images", splits={"train": 3, "test": 2})
    main, terminal = pty.openpty()
    termios.tcsetwinsize(main, (24, 80))
    arguments = [progress, images, tmp_path / "c"]
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, *map(str, arguments)],
        stdout=terminal, stderr=terminal, stdin=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        os.close(terminal)
        shown = b""
        while True:
            try:
                part = os.read(main, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        assert process.wait(100) == 0, shown.decode()
    os.close(main)
    for bar in (b"epoch/s", b"image/s", b"Loading weights"):
        assert (bar in shown) == (progress == "shown"), shown.decode()
