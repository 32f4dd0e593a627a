"""Writes the tiny models of this folder, and the features that open_clip itself gives with them.

open_clip needs torchvision, of which its transforms alone are used, and those without its compiled
part. So it has an environment of its own:

    python3 -m venv open_clip_environment
    open_clip_environment/bin/pip install torch==2.13.0 transformers==5.23.0 ftfy pillow
    open_clip_environment/bin/pip install --no-deps \\
        open_clip_torch==3.3.0 torchvision==0.29.1 timm==1.0.31
    open_clip_environment/bin/python tests/open_clip/make.py

Each model is saved in half precision, read again by open_clip from its folder, and asked for the
features of the same images and texts. Its vocabulary is small, so open_clip's own tokenizer is
given a small one; the tokenizers of transformers are read by open_clip from the folder.
"""

import gzip
import importlib.machinery
import json
import shutil
import site
import string
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import transformers

ROOT = Path(__file__).parents[2]
sys.path[0] = str(ROOT)
from tests.checkpoints import CORPUS, byte_pairs  # noqa: E402
from tests.open_clip import MODELS, ODD_TEXTS, TEXTS, TOKENIZER_OF, TOKENIZERS, pictures  # noqa: E402

SIDE = 16  # of the pixels that are committed
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
VISION = {
    "layers": 2, "width": 16, "head_width": 8, "mlp_ratio": 2.0, "patch_size": 8, "image_size": 24,
}  # fmt: skip
TEXT = {"context_length": 16, "width": 16, "heads": 2, "layers": 2, "mlp_ratio": 2.0}
HALVES = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
HUB_TEXT = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": 24,
}  # fmt: skip


def model(vision: Any = None, text: Any = None, **settings: Any) -> dict[str, Any]:
    """The entry ``model_cfg`` of a configuration."""
    return {
        "embed_dim": 12,
        **settings,
        "vision_cfg": {**VISION, **(vision or {})},
        "text_cfg": {**TEXT, **(text or {})},
    }


def hub_text(name: str, **settings: Any) -> dict[str, Any]:
    """The entry ``text_cfg`` of a text tower of transformers."""
    return {"hf_model_name": name, "hf_tokenizer_name": name, "context_length": 16, **settings}


BERT = {"hf_tokenizer_name": "bert-base-uncased"}
# By name: the tokenizer, the model, and the preprocessing, which may be left out.
KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "quick_gelu": ("clip", model(quick_gelu=True), {}),
    "gelu": (
        "clip",
        model(),
        {**HALVES, "interpolation": "bilinear", "resize_mode": "squash"},
    ),
    "own_vocabulary": (
        "bert",
        model(text={**BERT, "context_length": 12, "pool_type": "eos", "eos_id": 3},
              custom_text=True),
        {"resize_mode": "longest", "fill_color": 114},
    ),
    "clipa": (
        "bert",
        model({"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
              {**BERT, "tokenizer_kwargs": {"strip_sep_token": True}, "pool_type": "last",
               "no_causal_mask": True}),
        {"interpolation": "bilinear", "resize_mode": "longest", "mean": 0.4, "std": 0.3},
    ),
    "average_no_projection": (
        "bert",
        model({"pool_type": "avg", "act_kwargs": {"approximate": "tanh"},
               "norm_kwargs": {"eps": 1e-6}},
              {**BERT, "proj_type": "none", "pool_type": "first", "no_causal_mask": True,
               "act_kwargs": {"approximate": "tanh"}, "norm_kwargs": {"eps": 1e-6}},
              embed_dim=16),
        {"resize_mode": "squash"},
    ),
    "biases": (
        "clip",
        model({"image_size": 28, "head_width": 4}, {"proj_bias": True, "heads": 4},
              custom_text=True, init_logit_bias=-10.0, nonscalar_logit_scale=True),
        {"interpolation": "bilinear"},
    ),
    "roberta_mean_mlp": (
        "roberta",
        model(quick_gelu=True) | {"text_cfg": hub_text("roberta-base")},
        {},
    ),
    "xlm_roberta_mean_linear": (
        "roberta",
        model() | {"text_cfg": hub_text("xlm-roberta-base", hf_proj_type="linear",
                                        hf_pooler_type=None)},
        {**HALVES, "resize_mode": "squash"},
    ),
    "bert_cls_linear": (
        "bert",
        model() | {"text_cfg": hub_text("bert-base-uncased", hf_proj_type="linear",
                                        hf_pooler_type="cls_pooler")},
        {"interpolation": "random"},
    ),
    "bert_first_no_projection": (
        "bert",
        model(embed_dim=16) | {
            "text_cfg": hub_text("bert-base-uncased", hf_proj_type=None,
                                 hf_pooler_type="cls_last_hidden_state_pooler")
        },
        {"resize_mode": "longest"},
    ),
}  # fmt: skip


def import_open_clip() -> Any:
    """The package open_clip, with what it needs of torchvision and no compiled part."""
    root = Path(site.getsitepackages()[0]) / "torchvision"

    def stub(name: str, **entries: Any) -> None:
        module = types.ModuleType(name)
        module.__dict__.update(entries)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        sys.modules[name] = module

    stub("torchvision", __path__=[str(root)], __version__="0")
    stub("torchvision.extension", _has_ops=lambda: False, _load_library=lambda *_: None)
    stub("torchvision.ops", __path__=[])
    stub("torchvision.ops.misc", FrozenBatchNorm2d=torch.nn.BatchNorm2d)
    import open_clip

    return open_clip


# Tokenizers ###########################################################################


def write_clip(folder: Path) -> None:
    """The files of a small vocabulary of CLIP, numbered as open_clip numbers its own."""
    from open_clip.tokenizer import bytes_to_unicode

    characters = list(bytes_to_unicode().values())
    _, merges = byte_pairs([text.lower() for text in CORPUS], 380)
    tokens = [*characters, *(f"{each}</w>" for each in characters), *map("".join, merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = ["#version: 0.2", *map(" ".join, merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")


def write_bert(folder: Path) -> None:
    """A word-piece vocabulary of letters and some words."""
    letters = string.ascii_lowercase + string.digits
    words = ("cat", "dog", "apple", "tree", "photo", "house", "the", "and", "of", "in")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *string.punctuation]
    tokens += [*(f"##{letter}" for letter in letters), *words]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    transformers.BertTokenizer(vocab=vocabulary).save_pretrained(folder)


def write_roberta(folder: Path) -> None:
    """A byte-pair vocabulary as RoBERTa's."""
    from open_clip.tokenizer import bytes_to_unicode

    letters = sorted(bytes_to_unicode().values())
    merges = [("t", "h"), ("th", "e"), ("o", "f"), ("Ġ", "a"), ("c", "a"), ("ca", "t")]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *letters, *map("".join, merges), "<mask>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    transformers.RobertaTokenizer(vocab=vocabulary, merges=merges).save_pretrained(folder)


WRITERS = {"clip": write_clip, "bert": write_bert, "roberta": write_roberta}
HUB_CONFIGS = {
    "bert-base-uncased": transformers.BertConfig,
    "roberta-base": transformers.RobertaConfig,
    "xlm-roberta-base": transformers.XLMRobertaConfig,
}


def vocabulary_size(name: str) -> int:
    """The number of tokens of one of the tokenizers."""
    path = TOKENIZERS / name / "vocab.json"
    if path.exists():
        return len(json.loads(path.read_text()))
    return len(json.loads((path.parent / "tokenizer.json").read_text())["model"]["vocab"])


def small_tokenizer(context_length: int, clean: str = "lower") -> Any:
    """open_clip's own tokenizer with the small vocabulary."""
    from open_clip import SimpleTokenizer

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "merges.gz"
        text = (TOKENIZERS / "clip" / "merges.txt").read_text().rstrip("\n")
        path.write_bytes(gzip.compress(text.encode()))
        return SimpleTokenizer(str(path), context_length=context_length, clean=clean)


# Models ###############################################################################


def randomize(network: torch.nn.Module) -> None:
    """Draws all weights so that features of different inputs differ."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith(("logit_scale", "logit_bias")):
                weight.fill_(3.0 if name.endswith("scale") else -10.0)
            elif weight.dim() == 1:
                shift = 1.0 if "ln_" in name or "LayerNorm.weight" in name else 0.0
                weight.copy_(0.2 * torch.randn_like(weight) + shift)
            else:
                weight.copy_(torch.randn_like(weight) * 0.4)


def write_model(open_clip: Any, kind: str) -> dict[str, torch.Tensor]:
    """Writes a model, and returns what open_clip computes with it."""
    tokenizer, settings, preprocessing = KINDS[kind]
    folder = MODELS / kind
    folder.mkdir(parents=True)
    settings["text_cfg"]["vocab_size"] = vocabulary_size(tokenizer)
    config = {"model_cfg": settings, "preprocess_cfg": preprocessing, TOKENIZER_OF: tokenizer}
    is_hub = "hf_model_name" in settings["text_cfg"]
    if is_hub:
        padding = {"pad_token_id": 1} if tokenizer == "roberta" else {}
        HUB_CONFIGS[settings["text_cfg"]["hf_model_name"]](
            vocab_size=vocabulary_size(tokenizer), **HUB_TEXT, **padding
        ).save_pretrained(folder)
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
    with tempfile.TemporaryDirectory() as copy:
        # open_clip fetches a text tower by its name, which is the folder here:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        shutil.copytree(TOKENIZERS / tokenizer, copy, dirs_exist_ok=True)
        if is_hub:
            changed = json.loads(json.dumps(config))
            changed["model_cfg"]["text_cfg"]["hf_model_name"] = copy
            (Path(copy) / CONFIG).write_text(json.dumps(changed))
        name = f"local-dir:{copy}"
        network = open_clip.create_model(name, load_weights=False, pretrained_text=False)
        torch.manual_seed(sum(kind.encode()))
        randomize(network)
        state = {name: weight.half().contiguous() for name, weight in network.state_dict().items()}
        safetensors.torch.save_file(state, folder / WEIGHTS)
        shutil.copy(folder / WEIGHTS, copy)
        return computed(open_clip, name, settings["text_cfg"])


def computed(open_clip: Any, name: str, text: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Features and tokens of one model, which open_clip reads from its folder."""
    network, _, transform = open_clip.create_model_and_transforms(name)
    network.eval()
    if "hf_tokenizer_name" in text:
        tokenize = open_clip.get_tokenizer(name)
    else:
        tokenize = small_tokenizer(text["context_length"])
    tokens = tokenize(list(TEXTS))
    with torch.no_grad():
        pixels = torch.stack([transform(picture) for picture in pictures()])
        return {
            "image": network.encode_image(pixels, normalize=True),
            "text": network.encode_text(tokens, normalize=True),
            "tokens": tokens,
            "logit_scale": network.logit_scale.exp().reshape(()).clone(),
        }


def write_tokens() -> None:
    """The tokens of odd texts after each way to clean them."""
    from open_clip.tokenizer import HFTokenizer

    rows = {}
    for clean in ("lower", "canonicalize"):
        tokenize = small_tokenizer(99, clean)
        start, end = tokenize.all_special_ids
        rows[f"clip {clean}"] = [[start, *tokenize.encode(text), end] for text in ODD_TEXTS]
    for clean in ("lower", "canonicalize", "whitespace"):
        tokenize = HFTokenizer(str(TOKENIZERS / "bert"), context_length=99, clean=clean)
        ids = tokenize(list(ODD_TEXTS)).tolist()
        rows[f"bert {clean}"] = [[i for i in row if i] for row in ids]  # without padding
    (MODELS.parent / "tokens.json").write_text(json.dumps(rows) + "\n")


def write_pixels() -> None:
    """The bytes of all pictures after each way to resize them."""
    from open_clip.transform import image_transform

    pixels = {}
    for mode in ("shortest", "longest", "squash"):
        for interpolation in ("bicubic", "bilinear"):
            transform = image_transform(
                SIDE, False, (0.0,) * 3, (1.0,) * 3, mode, interpolation, fill_color=114
            )
            x = torch.stack([transform(picture) for picture in pictures()])
            pixels[f"{mode} {interpolation}"] = (x * 255).round().to(torch.uint8).contiguous()
    safetensors.torch.save_file(pixels, MODELS.parent / "pixels.safetensors")


def main() -> None:
    """Writes all."""
    open_clip = import_open_clip()
    for folder in (MODELS, TOKENIZERS):
        shutil.rmtree(folder, ignore_errors=True)
    for name, write in WRITERS.items():
        write(TOKENIZERS / name)
    for kind in KINDS:
        safetensors.torch.save_file(
            write_model(open_clip, kind), MODELS / kind / "expected.safetensors"
        )
    write_pixels()
    write_tokens()


if __name__ == "__main__":
    main()
