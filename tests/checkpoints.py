"""Tiny checkpoints with random weights of each family, as its own classes save them."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

CORPUS = (
    "a photo of a cat and a dog, the drawing of an apple in the tree",
    "many birds fly over a green house beside the river; itap origami texture",
    "0123456789 ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklmnopqrstuvwxyz .,:;!?{}()-_'\"",
) * 20
TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
TOWER |= {"num_attention_heads": 2}
IMAGE_SIZE, PATCH_SIZE, PROJECTION = 32, 8, 24
VISION = {**TOWER, "image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE}


def byte_pairs(texts, size):
    """The tokens of a byte-level BPE whose words end with ``</w>``, and its merges. The most
    frequent pair is merged, and of several the first: training in ``tokenizers`` takes any."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
    words = Counter(word for text in texts for word, _ in split(text))
    parts = {word: [*word[:-1], f"{word[-1]}</w>"] for word in words}
    tokens = set(pre_tokenizers.ByteLevel.alphabet()).union(*parts.values())
    merges = []
    while len(tokens) < size:
        pairs = Counter()
        for word, symbols in parts.items():
            for pair in pairwise(symbols):
                pairs[pair] += words[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        tokens.add("".join(best))
        for symbols in parts.values():
            for k in range(len(symbols) - 2, -1, -1):
                if (*symbols[k : k + 2],) == best:
                    symbols[k : k + 2] = ["".join(best)]
    return tokens, merges


def clip_tokenizer(folder, length=16):
    # Every character also ends a word somewhere, so that "class 0" and "class 1" are told apart:
    tokens, merges = byte_pairs((*CORPUS, " ".join(CORPUS[2])), 398)
    # CLIP's own pooling takes the largest id for the end of the text:
    special = ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate((*sorted(tokens), *special))}
    built = transformers.CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=length)
    built.save_pretrained(folder)
    return built


def wordpiece_tokenizer(folder):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special)
    )
    built = transformers.BertTokenizer(vocab=tokenizer.get_vocab(), model_max_length=16)
    built.save_pretrained(folder)
    return built


def roberta_tokenizer(folder):
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>")
    )
    state = json.loads(tokenizer.to_str())["model"]
    built = transformers.XLMRobertaTokenizer(
        vocab=[tuple(each) for each in state["vocab"]], model_max_length=16
    )
    built.save_pretrained(folder)
    return built


def siglip_tokenizer(folder):
    import sentencepiece

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(CORPUS).lower(), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / "spiece"), vocab_size=60,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    built = transformers.SiglipTokenizer(
        vocab_file=str(folder / "spiece.model"), model_max_length=16
    )
    built.save_pretrained(folder)
    corpus.unlink()
    return built


def siglip2_tokenizer(folder):
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=300, special_tokens=special)
    )
    state = json.loads(tokenizer.to_str())["model"]
    built = transformers.Siglip2Tokenizer(
        vocab=state["vocab"], merges=[tuple(pair) for pair in state["merges"]], model_max_length=16,
        padding_side="right",
    )  # fmt: skip
    built.save_pretrained(folder)
    return built


def text_settings(tokenizer, positions=16):
    return {
        **TOWER,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": positions,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def clip(folder, length=16):
    tokenizer = clip_tokenizer(folder, length)
    config = transformers.CLIPConfig(
        text_config=text_settings(tokenizer, length),
        vision_config=VISION,
        projection_dim=PROJECTION,
    )
    return transformers.CLIPModel(config), clip_processor(transformers.CLIPImageProcessor)


def metaclip_2(folder):
    tokenizer = roberta_tokenizer(folder)
    config = transformers.MetaClip2Config(
        text_config=text_settings(tokenizer), vision_config=VISION, projection_dim=PROJECTION
    )
    return transformers.MetaClip2Model(config), clip_processor(transformers.CLIPImageProcessor)


def altclip(folder):
    tokenizer = roberta_tokenizer(folder)
    text = {**text_settings(tokenizer, positions=20), "project_dim": PROJECTION}
    config = transformers.AltCLIPConfig(
        text_config=text,
        vision_config={**VISION, "projection_dim": PROJECTION},
        projection_dim=PROJECTION,
    )
    return transformers.AltCLIPModel(config), clip_processor(transformers.CLIPImageProcessor)


def chinese_clip(folder):
    tokenizer = wordpiece_tokenizer(folder)
    config = transformers.ChineseCLIPConfig(
        text_config=text_settings(tokenizer), vision_config=VISION, projection_dim=PROJECTION
    )
    processor = clip_processor(transformers.ChineseCLIPImageProcessor)
    return transformers.ChineseCLIPModel(config), processor


def siglip(folder):
    tokenizer = siglip_tokenizer(folder)
    config = transformers.SiglipConfig(
        text_config={**text_settings(tokenizer), "projection_size": 16}, vision_config=VISION
    )
    processor = transformers.SiglipImageProcessor(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    return transformers.SiglipModel(config), processor


def siglip2(folder):
    tokenizer = siglip2_tokenizer(folder)
    vision = {**TOWER, "num_patches": 16, "patch_size": PATCH_SIZE}
    config = transformers.Siglip2Config(
        text_config={**text_settings(tokenizer), "projection_size": 16}, vision_config=vision
    )
    processor = transformers.Siglip2ImageProcessor(patch_size=PATCH_SIZE, max_num_patches=16)
    return transformers.Siglip2Model(config), processor


def dual_encoder(folder):
    tokenizer = wordpiece_tokenizer(folder)
    text = transformers.BertConfig(**text_settings(tokenizer))
    vision = transformers.ViTConfig(**VISION)
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
        vision, text, projection_dim=PROJECTION
    )
    processor = transformers.ViTImageProcessor(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    return transformers.VisionTextDualEncoderModel(config), processor


def clip_processor(kind):
    return kind(
        size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    )


FAMILIES = {
    "altclip": altclip,
    "chinese_clip": chinese_clip,
    "clip": clip,
    "metaclip_2": metaclip_2,
    "siglip": siglip,
    "siglip2": siglip2,
    "vision-text-dual-encoder": dual_encoder,
}


def save_checkpoint(family, folder, **settings):
    """Writes a tiny checkpoint of a family."""
    torch.manual_seed(0)
    model, processor = FAMILIES[family](folder, **settings)
    with torch.no_grad():
        # So that neither the random features of images nor those of texts are all alike:
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
        model.logit_scale.fill_(3.0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
