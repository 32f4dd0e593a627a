import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyg_graphadapter import cli


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYG_GRAPHADAPTER_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        result = CliRunner().invoke(cli.app, ["demo", "--out", "out"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout, folder / "out"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_accuracy_grows_with_the_shots(demo):
    results = [json.loads(path.read_text()) for path in (demo[1] / "results").iterdir()]
    accuracy = {}
    for result in results:
        accuracy.setdefault((result["method"], result["shots"]), []).append(result["accuracy"])
    mean = {key: sum(values) / len(values) for key, values in accuracy.items()}
    assert all(len(values) == 3 for values in accuracy.values())
    zero_shot = mean["zero_shot", 1]
    adapted = [mean["graph_adapter", shots] for shots in (1, 2, 4, 8, 16)]
    assert zero_shot >= 4 * 100 / 15  # four times chance
    assert adapted[0] > zero_shot
    assert adapted == sorted(adapted)
    assert adapted[-1] >= zero_shot + 25


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_table_is_the_readmes(demo):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

    def table(text):
        rows = re.findall(r"^\| (\w+) +\| +(\d+) \| +3 \| +([\d.]+) ± ", text, flags=re.MULTILINE)
        return {(method, int(shots)): float(accuracy) for method, shots, accuracy in rows}

    expected, printed = table(readme), table(demo[0])
    assert len(printed) == 10
    assert expected.keys() == printed.keys()
    for key, accuracy in printed.items():
        assert accuracy == pytest.approx(expected[key], abs=1.5)
    for name in ("accuracy.png", "predictions.png"):
        assert (demo[1] / name).stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_json(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHADAPTER_CACHE_DIR", str(tmp_path / "cache"))
    result = CliRunner().invoke(cli.app, ["demo", "--out", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert set(document) == {"classes", "test_images", "rows", "curve", "pictures"}
    assert len(document["rows"]) == 10
    assert "Curve: " in result.stderr
