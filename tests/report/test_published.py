import json

import pytest

from pyg_graphadapter.report.published import Published

CONTENT = {
    "backbone": "ViT-B/16",
    "methods": {"gda": {"source": "a paper", "accuracy": {"dtd": {"1": 40, "16": 66.5}}}},
}


def test_published_numbers_are_read(tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(CONTENT))
    found = Published.load(path)
    assert found.accuracy == {"dtd": {"gda": {1: 40.0, 16: 66.5}}}
    assert found.sources == {"gda": "a paper"}


@pytest.mark.parametrize("name", ["ViT-B/16", "vit-b16", "openai/clip-vit-base-patch16"])
def test_one_image_tower_has_several_names(name):
    published = Published("ViT-B/16", {}, {})
    assert published.is_of(name)
    assert not published.is_of("openai/clip-vit-base-patch32")
    assert not published.is_of("builtin")
    assert not published.is_of(None)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"backbone": "x"}', '{"backbone": "x", "methods": {"a": 1}}',
     '{"backbone": "x", "methods": {"a": {"source": "", "accuracy": {"d": {"one": 1}}}}}'],
)  # fmt: skip
def test_files_without_published_numbers(tmp_path, content):
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(
        ValueError, match=r"p\.json cannot be read as a file of published numbers.* It must be"
    ):
        Published.load(path)
    with pytest.raises(FileNotFoundError):
        Published.load(tmp_path / "gone.json")


def test_the_published_numbers_beside_this_repository(shared_data):
    found = Published.load(shared_data.parent / "reference_results.json")
    assert found.backbone == "RN50"
    assert found.accuracy["eurosat"]["graph_adapter"] == {16: 85.27}
    assert len(found.accuracy) == 11
