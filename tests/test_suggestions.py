"""What was meant by a name that does not exist."""

import pytest

from pyg_graphadapter.settings import unknown
from pyg_graphadapter.suggestions import path_suggestion, suggestion


@pytest.mark.parametrize(
    ("name", "meant"),
    [("bulitin", "builtin"), ("Photos", "photos"), ("tip_adaptor", "tip_adapter"), ("zzz", None)],
)
def test_the_most_similar_name(name, meant):
    expected = "" if meant is None else f" Did you mean {meant!r}?"
    assert suggestion(name, ["photos", "tip_adapter", "builtin", "zero_shot"]) == expected


def test_the_error_of_an_unknown_name():
    error = unknown("method", "gdaa", ["gda", "clap"])
    assert str(error) == "Unknown method 'gdaa'. Choose from gda, clap. Did you mean 'gda'?"
    assert str(unknown("method", "x", ["gda"])) == "Unknown method 'x'. Choose from gda."


def test_paths_are_compared_by_name_not_by_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    assert path_suggestion(tmp_path / "phots") == " Did you mean 'photos'?"
    assert path_suggestion(tmp_path / "unlike") == ""
    assert path_suggestion(tmp_path / "no" / "folder") == ""
    assert path_suggestion("bulitin", ["builtin"]) == " Did you mean 'builtin'?"
    assert path_suggestion(tmp_path / "photos") == ""  # it is there
