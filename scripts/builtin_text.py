"""The text side of the built-in model: the teacher, its map into the joint space, the student.

Not run by itself: ``build_builtin_model.py`` imports it.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import (
    AlbertConfig,
    AlbertModel,
    AutoModel,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

logger = logging.getLogger(__name__)

# The teacher reads a phrase in each of these; what it says is averaged:
TEACHER_TEMPLATES = ("{}", "a photo of a {}.")
# The student learns to answer the same in all of these:
STUDENT_TEMPLATES = (
    "{}",
    "{}.",
    "a {}",
    "the {}",
    "a photo of a {}.",
    "a photo of a {}",
    "a photo of the {}.",
    "a photo of {}.",
    "a photo of an {}.",
    "a bad photo of a {}.",
    "a good photo of the {}.",
    "a close-up photo of a {}.",
    "a picture of a {}.",
    "an image of a {}.",
    "this is a photo of a {}.",
    "itap of a {}.",
    "a drawing of a {}.",
    "clip art of a {}.",
    "a clipart of a {}.",
    "a sketch of a {}.",
    "a painting of a {}.",
    "a cartoon of a {}.",
    "an illustration of a {}.",
    "an icon of a {}.",
    "an emoji of a {}.",
    "art of the {}.",
    "a rendering of a {}.",
    "a photo of many {}.",
    "a photo of the small {}.",
    "a photo of the large {}.",
    "a {} on a white background.",
    "a centered photo of a {}.",
)
MAX_TOKENS = 64
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


# Teacher ##############################################################################


class Teacher:
    """A sentence encoder whose token states are averaged: all-MiniLM-L6-v2.

    Args:
        folder (Path): The checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], batch_size: int = 128) -> Tensor:
        """Features of length one ``[P, 384]``."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        x = torch.zeros(len(texts), self.model.config.hidden_size)
        for start in range(0, len(order), batch_size):
            index = order[start : start + batch_size]
            batch = self.tokenizer(
                [texts[i] for i in index],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
            )
            states = self.model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
            x[index] = F.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
        return x

    def encode_templates(self, words: Sequence[str]) -> Tensor:
        """Features of the words in each of the teacher's templates ``[P, T, 384]``."""
        filled = [self.encode([t.format(word) for word in words]) for t in TEACHER_TEMPLATES]
        return torch.stack(filled, dim=1)


class TextMap:
    r"""Maps teacher features into the joint space by kernel ridge regression.

    .. math::
        f(x) = \sum_i \exp(\gamma (x^\top a_i - 1)) \, c_i

    where the anchors :math:`a_i` are centred features of names whose place :math:`b_i` in the
    joint space is known, and :math:`(K + \lambda W^{-1}) c = b` with their weights :math:`W`.

    Args:
        x (torch.Tensor): Teacher features of the names, one a template.
        target (torch.Tensor): Where they lie in the joint space.
        weight (torch.Tensor): What each name counts.
        gamma (float, optional): Inverse width :math:`\gamma` of the kernel. (default: :obj:`4.0`)
        penalty (float, optional): Ridge :math:`\lambda`. (default: :obj:`0.5`)

    Shapes:
        - **x:** :math:`(A, T, 384)`
        - **target:** :math:`(A, D)`
        - **weight:** :math:`(A)`
    """

    def __init__(
        self, x: Tensor, target: Tensor, weight: Tensor, gamma: float = 4.0, penalty: float = 0.5
    ) -> None:
        self.gamma = gamma
        self.centre = (x * weight.view(-1, 1, 1)).sum(0) / weight.sum()
        self.anchors = self._centred(x)
        ridge = torch.diag(penalty / weight.double())
        kernel = self._kernel(self.anchors).double()
        self.coef = torch.linalg.solve(kernel + ridge, target.double()).float()

    def __call__(self, x: Tensor) -> Tensor:
        """Features of length one ``[P, D]`` of teacher features ``[P, T, 384]``."""
        parts = [self._kernel(self._centred(part)) @ self.coef for part in x.split(4096)]
        return F.normalize(torch.cat(parts), dim=-1)

    def _centred(self, x: Tensor) -> Tensor:
        return F.normalize(F.normalize(x - self.centre, dim=-1).mean(dim=1), dim=-1)

    def _kernel(self, x: Tensor) -> Tensor:
        return torch.exp(self.gamma * (x @ self.anchors.t() - 1))


# Student ##############################################################################


def build_tokenizer(
    weight: dict[str, float], teacher: Teacher, num_words: int = 10_500, size: int = 16_000
) -> PreTrainedTokenizerFast:
    """A lower-case WordPiece tokenizer: the commonest words, then the teacher's pieces of others.

    Args:
        weight (dict): Phrases with their weight.
        teacher (Teacher): Whose tokenizer cuts rarer words into pieces.
        num_words (int, optional): The number of whole words. (default: :obj:`10_500`)
        size (int, optional): The size of the vocabulary. (default: :obj:`16_000`)
    """
    normalizer = normalizers.BertNormalizer(lowercase=True)
    splitter = pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for text, value in [*weight.items(), *((t.format(""), 1e6) for t in STUDENT_TEMPLATES)]:
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)):
            words[word] += value
    ranked = sorted(words, key=lambda word: (-words[word], word))
    pieces: Counter[str] = Counter()
    for word in ranked[num_words:]:
        for piece in teacher.tokenizer.tokenize(word):
            pieces[piece] += words[word]
    letters = sorted(
        {letter for word in words for letter in word} | set("abcdefghijklmnopqrstuvwxyz0123456789")
    )
    vocabulary = dict.fromkeys([*SPECIAL, *letters, *("##" + c for c in letters)])
    vocabulary |= dict.fromkeys(ranked[:num_words])
    vocabulary |= dict.fromkeys(sorted(pieces, key=lambda piece: (-pieces[piece], piece)))
    vocabulary.pop("[UNK]")
    tokens = [*SPECIAL, *(token for token in vocabulary if token not in SPECIAL)][:size]
    ids = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


class Student(nn.Module):
    """A small transformer with factorised embeddings, and its way into the joint space.

    Args:
        vocab_size (int): The size of the vocabulary.
        out_channels (int): The width of the joint space.
    """

    def __init__(self, vocab_size: int, out_channels: int) -> None:
        super().__init__()
        config = AlbertConfig(
            vocab_size=vocab_size,
            embedding_size=128,
            hidden_size=256,
            num_hidden_layers=2,
            num_hidden_groups=2,
            num_attention_heads=4,
            intermediate_size=768,
            hidden_act="gelu",
            max_position_embeddings=MAX_TOKENS,
            type_vocab_size=1,
            layer_norm_eps=1e-6,
            classifier_dropout_prob=0.0,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=3,
        )
        self.model = AlbertModel(config)
        self.projection = nn.Linear(config.hidden_size, out_channels, bias=False)
        nn.init.normal_(self.projection.weight, std=config.hidden_size**-0.5)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Features ``[P, D]`` of tokens ``[P, L]``."""
        pooled = self.model(input_ids=input_ids, attention_mask=attention_mask).pooler_output
        return self.projection(pooled)

    @torch.no_grad()
    def initialise(self, ids: Sequence[Sequence[int]], target: Tensor, weight: Tensor) -> None:
        """Starts each token at the principal components of the phrases that it occurs in.

        Args:
            ids (sequence): The tokens of the phrases.
            target (torch.Tensor): Where the phrases lie ``[P, D]``.
            weight (torch.Tensor): What they count ``[P]``.
        """
        table = self.model.embeddings.word_embeddings.weight
        phrase = torch.tensor([i for i, row in enumerate(ids) for _ in row])
        token = torch.tensor([t for row in ids for t in row])
        length = torch.tensor([len(row) for row in ids])
        share = (weight / length**2)[phrase]
        mean = target.new_zeros(len(table), target.size(1))
        mean.index_add_(0, token, target[phrase] * share.unsqueeze(1))
        mean = F.normalize(mean, dim=-1)
        _, _, components = torch.linalg.svd(mean, full_matrices=False)
        start = mean @ components[: table.size(1)].t()
        seen = mean.norm(dim=-1) > 0
        table[seen] = 0.1 * start[seen] / start[seen].std()


def distil(
    student: Student,
    tokenizer: PreTrainedTokenizerFast,
    weight: dict[str, float],
    target: Tensor,
    *,
    steps: int,
    batch_size: int = 128,
    lr: float = 1e-3,
    seed: int = 0,
) -> list[float]:
    """Trains the student to put phrases, in any template, where the teacher puts them.

    Args:
        student (Student): What is trained, in place.
        tokenizer (PreTrainedTokenizerFast): Its tokenizer.
        weight (dict): Phrases with how often to draw each.
        target (torch.Tensor): Where they lie ``[P, D]``, of length one.
        steps (int): The number of batches.
        batch_size (int, optional): Phrases a batch. (default: :obj:`128`)
        lr (float, optional): The largest learning rate. (default: :obj:`1e-3`)
        seed (int, optional): Seeds what is drawn. (default: :obj:`0`)

    Returns:
        The mean cosine to the teacher, over each tenth of the training.
    """
    texts = list(weight)
    student.initialise(tokenizer(texts)["input_ids"], target, torch.tensor([*weight.values()]))
    generator = np.random.default_rng(seed)
    share = np.array(list(weight.values()))
    share /= share.sum()
    optimizer = torch.optim.AdamW(student.parameters(), lr=lr, weight_decay=0.01)
    warmup = 0.04 * steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda i: min((i + 1) / warmup, 0.5 * (1 + math.cos(math.pi * i / steps)) + 1e-3),
    )
    cosines: list[float] = []
    start, group = time.perf_counter(), 20
    for step in range(steps):
        if step % group == 0:  # batches of like length, in random order
            drawn = generator.choice(len(texts), size=group * batch_size, p=share)
            filled = [_in_template(texts[i], generator) for i in drawn]
            order = np.argsort([len(text) for text in filled], kind="stable")
            batches = list(generator.permutation(order.reshape(group, batch_size)))
        index = batches[step % group]
        inputs = tokenizer([filled[i] for i in index], padding=True, return_tensors="pt")
        cosine = F.cosine_similarity(student(**inputs), target[drawn[index]]).mean()
        optimizer.zero_grad()
        (1 - cosine).backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        cosines.append(float(cosine.detach()))
        if (step + 1) % max(1, steps // 20) == 0:
            recent = sum(cosines[-group:]) / group
            seconds = time.perf_counter() - start
            logger.info("step %d of %d: cosine %.3f, %.0f s", step + 1, steps, recent, seconds)
    return [round(float(part.mean()), 4) for part in np.array_split(np.array(cosines), 10)]


@torch.inference_mode()
def agreement(
    student: Student, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], target: Tensor
) -> float:
    """The mean cosine of the student to where the teacher puts texts ``[P, D]``."""
    inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    return round(float(F.cosine_similarity(student(**inputs), target).mean()), 4)


def _in_template(text: str, generator: np.random.Generator) -> str:
    """A phrase as it is, one time in three, else in a template; a definition always as it is."""
    if len(text.split()) > 5 or generator.random() < 0.35:
        return text
    return STUDENT_TEMPLATES[generator.integers(len(STUDENT_TEMPLATES))].format(text)
