"""Writes the differences to open_clip into the README of this folder.

python -m tests.open_clip.differences
"""

import json
import re
import tempfile
from pathlib import Path

import safetensors.torch

from pyg_graphadapter import Encoder
from tests.open_clip import HERE, TEXTS, kinds, model_folder, pictures

ABOUT = {
    "average_no_projection": "average of patches, GELU by tanh; first token, no causal mask",
    "bert_cls_linear": "BERT, its pooler, linear projection",
    "bert_first_no_projection": "BERT, first token, no projection",
    "biases": "28 pixels in patches of 8; projection with bias, bias beside the factor",
    "clipa": "as CLIPA: no first norm, norm after the average; last token, no causal mask",
    "gelu": "GELU",
    "own_vocabulary": "context of 12 tokens, word pieces, pooled at the end token",
    "quick_gelu": "quick GELU",
    "roberta_mean_mlp": "RoBERTa, mean over tokens, projection of two layers",
    "xlm_roberta_mean_linear": "XLM-RoBERTa, its usual pooling, linear projection",
}  # fmt: skip


def row(kind: str) -> str:
    """What a model is, how it resizes images, and the largest differences of its features."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = Encoder.from_pretrained(model_folder(kind, Path(folder) / kind), device="cpu")
        image = encoder.encode_images(pictures(), progress=False).x[:, 0]
        text = encoder.encode_prompts(list(TEXTS))
    expected = safetensors.torch.load_file(HERE / "models" / kind / "expected.safetensors")
    pixels = json.loads(encoder.processor.to_json_string())
    differences = [
        float((x - expected[name]).abs().max()) for name, x in (("image", image), ("text", text))
    ]
    resized = f"{pixels['resize_mode']}, {pixels['interpolation']}"
    return f"| `{kind}` | {ABOUT[kind]} | {resized} | " + " | ".join(
        f"{difference:.1e}" for difference in differences
    ) + " |"  # fmt: skip


def main() -> None:
    """Writes the table."""
    header = (
        "| model | what it is | resized by | images | texts |\n| --- | --- | --- | ---: | ---: |"
    )
    table = "\n".join([header, *map(row, kinds())])
    path = HERE / "README.md"
    block = f"<!-- results -->\n{table}\n<!-- end -->"
    text = re.sub("<!-- results -->.*?<!-- end -->", lambda _: block, path.read_text(), flags=re.S)
    path.write_text(text)


if __name__ == "__main__":
    main()
