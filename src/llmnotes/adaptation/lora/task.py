"""Were two neighbouring words swapped? A task with exact labels.

sentences = of the docstrings of Python's own library: English, on every
            machine, no network
example   = (sentence, label): with label 1, two of its neighbouring words
            have changed places
draws     = are a function of (seed, step), so that a run can go on
batch     = sentences of similar length, so that little of it is padding
"""

import ast
import functools
import re
import sysconfig
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmnotes.foundations.tokenizers import WordPiece
from llmnotes.transformer.bert import BertModel
from llmnotes.transformer.bert.sentences import mean_pool

SHORTEST, LONGEST = 6, 16  # words of a sentence
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib"}
END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
DOCUMENTED = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef


@functools.cache
def sentences() -> tuple[str, ...]:
    """Every sentence of the library's docstrings once, in a fixed order.

    About ten thousand; which ones depends on the version of Python.
    """
    library = Path(sysconfig.get_path("stdlib"))
    found = {
        sentence
        for file in library.rglob("*.py")
        if not LEFT_OUT & set(file.relative_to(library).parts)
        for text in docstrings(file)
        for sentence in plain(text)
    }
    order = np.random.default_rng(0).permutation(len(found))
    ordered = sorted(found)
    return tuple(ordered[i] for i in order)


def docstrings(file: Path) -> list[str]:
    """The docstrings of a file; none if it cannot be read."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    nodes = (x for x in ast.walk(tree) if isinstance(x, DOCUMENTED))
    return [ast.get_docstring(node) or "" for node in nodes]


def plain(text: str) -> list[str]:
    """The sentences of a text that are prose and of a common length."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in END.split(" ".join(paragraph.split())):
            words = sentence.split()
            letters = sum(word.strip(",.()").isalpha() for word in words)
            fits = SHORTEST <= len(words) <= LONGEST
            whole = sentence[:1].isupper() and sentence[-1:] in {".", "!", "?"}
            if fits and whole and letters >= 0.8 * len(words):
                found.append(sentence)
    return found


def swapped(sentence: str, place: int) -> str:
    """Exchange the words at `place` and behind it.

    Raises `ValueError` unless there are two.
    """
    words = sentence.split()
    if not 0 <= place < len(words) - 1:
        raise ValueError(
            f"place: got {place}, expected 0 to {len(words) - 2}, with a "
            "word behind it"
        )
    words[place], words[place + 1] = words[place + 1], words[place]
    return " ".join(words)


def examples(some, draw: np.random.Generator) -> tuple[list[str], Tensor]:
    """Each sentence as it is or with a swap, by chance; and which."""
    labels = draw.integers(2, size=len(some))
    texts = [
        swapped(s, draw.integers(len(s.split()) - 1)) if label else s
        for s, label in zip(some, labels, strict=True)
    ]
    return texts, torch.tensor(labels)


def both(some, draw: np.random.Generator) -> tuple[list[str], Tensor]:
    """Each sentence as it is *and* with a swap: to judge by."""
    changed = [swapped(s, draw.integers(len(s.split()) - 1)) for s in some]
    return [*some, *changed], torch.arange(2).repeat_interleave(len(some))


class Classifier(nn.Module):
    """MiniLM, the mean of its vectors, and one linear layer: a score."""

    def __init__(self, bert: BertModel):
        super().__init__()
        self.bert = bert
        del self.bert.pooler  # which nobody reads here
        self.head = nn.Linear(bert.config.hidden_size, 1)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return a score for each sentence: above 0, words were swapped."""
        return self.head(mean_pool(self.bert(ids, mask), mask)).squeeze(-1)


class Swaps:
    """The task, as `fit` asks for it: batches, loss, share of mistakes."""

    unit, measure = "sentences", "mistakes"

    def __init__(self, tokenizer: WordPiece, known, judged, size, seed):
        self.tokenizer, self.size, self.seed = tokenizer, size, seed
        ordered = sorted(known, key=lambda s: (len(s.split()), s))
        starts = range(0, len(ordered) - size + 1, size)
        self.batches = [ordered[i : i + size] for i in starts]
        self.judged = both(judged, np.random.default_rng(seed))

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, mask and labels; each pass visits all batches once."""
        turn, place = divmod(step, len(self.batches))
        order = np.random.default_rng((self.seed, turn)).permutation(
            len(self.batches)
        )
        draw = np.random.default_rng((self.seed, step, 1))
        texts, labels = examples(self.batches[order[place]], draw)
        return *self.tokenizer.batch(texts), labels

    def loss(self, model: nn.Module, batch) -> Tensor:
        """Cross-entropy of the two answers."""
        *inputs, labels = batch
        return F.binary_cross_entropy_with_logits(
            model(*inputs), labels.float()
        )

    def targets(self, batch) -> int:
        """Each sentence counts once."""
        return len(batch[-1])

    def facts(self) -> dict:
        """What a checkpoint must have been trained on."""
        return {"task": type(self).__name__, "seed": self.seed}

    def evaluate(self, model: nn.Module) -> float:
        """The share of mistakes on what is never trained on."""
        texts, labels = self.judged
        scores = scored(model, self.tokenizer, texts)
        return ((scores > 0) != labels.bool()).float().mean().item()


@torch.no_grad()
def scored(model: nn.Module, tokenizer: WordPiece, texts) -> Tensor:
    """The model's score of each text, 64 of similar length at a time."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    scores = torch.empty(len(texts))
    for start in range(0, len(order), 64):
        some = order[start : start + 64]
        scores[some] = model(*tokenizer.batch([texts[i] for i in some]))
    return scores
