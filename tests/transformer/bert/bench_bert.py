"""What the BERT chapter counts, computes, searches and trains."""

import functools
from itertools import product
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
import transformers as hf

from llmnotes.transformer.bert import (
    BERT_BASE,
    BERT_LARGE,
    MINILM_L6,
    Bert,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    count,
)
from llmnotes.transformer.bert.files import load_minilm, minilm_folder
from llmnotes.transformer.bert.sentences import embed, mean_pool, most_similar
from llmnotes.transformer.gpt import GPT1, GPTConfig, parameters
from tests.transformer.bert.about_attention import SENTENCES
from tests.transformer.bert.masked_runs import (
    LeftToRightLM,
    accuracy,
    both_sides,
    counted,
    first_layer_weights,
    fit,
    left_only,
    recipe,
    shakespeare,
)

SEED = 0
PERSON, DOG = "That is a happy person", "That is a happy dog"


@pytest.mark.usefixtures("tiny_shakespeare")
def bench_what_neighbours_tell(record):
    ids, other = shakespeare()
    rows = []
    for seen in (0, 1, 2, 4, 6):
        right = counted(ids, other, left_only(seen)).mean().item()
        rows.append(("before", seen, right))
    for seen in (0, 2, 4, 6):
        right = counted(ids, other, both_sides(seen // 2)).mean().item()
        rows.append(("both sides", seen, right))
    record(
        "neighbours",
        kind="tolerance",
        tolerance=1e-9,
        title="Hidden characters guessed right by counting, tiny Shakespeare",
        prediction=(
            "Written after a first look. That two sides tell more than one "
            "was expected, because either side narrows what the other "
            "leaves; that four characters are worth 0.75 on two sides and "
            "0.52 on one was not."
        ),
        columns={"view": "", "seen": "characters", "accuracy": ""},
        labels={
            "seen": "neighbours seen",
            "view": "where they stand",
            "accuracy": "share of characters guessed right",
        },
        rows=rows,
    )


def bench_who_reaches_whom(record):
    shape = BertConfig(23, 12, 1, 3, 20, 11, 2)
    torch.manual_seed(SEED)
    models = {
        "BERT, an encoder": Bert(shape).double().eval(),
        "GPT-1, a decoder": GPT1(
            GPTConfig(23, 11, n_embd=12, n_layer=1, n_head=3)
        ).double(),
    }
    ids, rows = torch.randint(1, 22, (1, 8)), []
    for name, model in models.items():
        before = model(ids)
        for j in range(8):
            changed = ids.clone()
            changed[:, j] += 1
            moved = (model(changed) - before).abs().amax((0, 2)) > 1e-12
            rows += [(name, i, j, int(moved[i])) for i in range(8)]
    record(
        "reach",
        kind="exact",
        seed=SEED,
        title="Whether changing a token (across) moves an output (down)",
        prediction=(
            "BERT's layer has no mask: all 64 pairs. GPT-1's has a causal "
            "one: 8 · 9 / 2 = 36, a triangle."
        ),
        columns={"model": "", "output": "", "token": "", "moves": ""},
        rows=rows,
    )


def bench_parameter_counts(record):
    published = {
        "BERT base": (BERT_BASE, "110M"),
        "BERT large": (BERT_LARGE, "340M"),
        "MiniLM-L6": (MINILM_L6, "22.7M"),
    }
    rows = []
    for name, (config, paper) in published.items():
        with torch.device("meta"):
            total = parameters(BertModel(config))
        rows.append((name, *count(config).values(), total, paper))
    record(
        "counts",
        kind="exact",
        title="Parameters by formula, part by part, and counted",
        prediction=(
            "Base: 31,036 · 768 + 2 · 768 for the tables, 12 layers of "
            "12 · 768² + 13 · 768, and 768² + 768 for the pooler: "
            "109,482,240. Large: 335,141,888, nearer to 335M than to the "
            "paper's 340M."
        ),
        columns={
            "model": "", "embeddings": "", "layers": "", "pooler": "",
            "total": "", "paper": "",
        },
        labels={"total": "all, counted", "paper": "published"},
        rows=rows,
    )  # fmt: skip


def bench_cosines(record):
    sentences = [PERSON, "That is a very happy person", DOG,
                 "Today is a sunny day"]  # fmt: skip
    vectors = embed(*load_minilm(), sentences)
    record(
        "cosines",
        kind="tolerance",
        tolerance=1e-3,
        title=f"Cosine of MiniLM's vectors with that of “{PERSON}”",
        prediction=(
            "Known from Hugging Face's model before ours was written: "
            "0.9429, 0.6946 and 0.2569."
        ),
        columns={"sentence": "", "cosine": ""},
        rows=[
            (sentence, (vector @ vectors[0]).item())
            for sentence, vector in list(zip(sentences, vectors, strict=True))[
                1:
            ]
        ],
    )


def bench_similar_sentences(record):
    vectors = embed(*load_minilm(), SENTENCES)
    rows = [
        (SENTENCES[i], SENTENCES[j], cosine)
        for i, j, cosine in most_similar(vectors, 5)
    ]
    record(
        "pairs",
        kind="tolerance",
        tolerance=1e-4,
        title=(
            f"The most similar of the {len(SENTENCES)} sentences on the "
            "page about attention, as it stood"
        ),
        prediction=(
            "Sentences that repeat a formula in words will be nearest: those "
            "about who may see whom, and those about rows of zeros."
        ),
        columns={"one": "", "other": "", "cosine": ""},
        labels={"one": "one sentence", "other": "and another"},
        rows=rows,
    )


QUESTIONS = (
    "Why do we divide by the square root of the dimension?",
    "How much memory does the cache of a long text need?",
    "Can a model look into the future?",
    "What if there is nothing to look at?",
)


def bench_questions(record):
    model = load_minilm()
    vectors = embed(*model, SENTENCES)
    rows = []
    for question in QUESTIONS:
        cosine = vectors @ embed(*model, [question])[0]
        best = int(cosine.argmax())
        rows.append((question, SENTENCES[best], cosine[best].item()))
    record(
        "questions",
        kind="tolerance",
        tolerance=1e-4,
        title="The sentence on the page about attention nearest to a question",
        prediction=(
            "Each question is put in other words than the page's. Three of "
            "the four should find a sentence that answers; 'nothing to look "
            "at' shares no noun with 'a row that may see no key'."
        ),
        columns={"question": "", "sentence": "", "cosine": ""},
        labels={"sentence": "nearest sentence"},
        rows=rows,
    )


@pytest.mark.timing  # not recomputed: what is left is rounding
def bench_parity(record):
    model, tokenizer = load_minilm()
    theirs = hf.BertModel.from_pretrained(minilm_folder()).eval()
    sentences = SENTENCES[:16]
    ids, mask = tokenizer.batch(sentences)
    with torch.no_grad():
        ours = model.hidden_states(ids, mask)
        right = theirs(ids, mask.long(), output_hidden_states=True)
    rows = []
    for layer, (a, b) in enumerate(zip(ours, right.hidden_states,
                                       strict=True)):  # fmt: skip
        gap = (a - b)[mask].abs().max().item()
        rows.append((layer, gap, b[mask].abs().max().item()))
    record(
        "parity",
        kind="timing",
        title="Largest difference from Hugging Face's BertModel, float32",
        prediction=(
            "Float32 keeps seven digits; sums of 384 to 1,536 products in "
            "another order lose one of them. On numbers up to 10: below "
            "1e-5 in every layer, growing with depth."
        ),
        columns={"layer": "", "gap": "", "size": ""},
        labels={
            "layer": "after layer (0: embeddings)",
            "gap": "largest difference at a real token",
            "size": "largest number",
        },
        rows=rows,
    )


def person_and_dog(model, tokenizer, attend=True, pool=mean_pool, **change):
    """Unit vectors of both, in a batch that a longer sentence pads."""
    texts = [PERSON, DOG, "A sentence that is longer than both of the others"]
    ids, mask = tokenizer.batch(texts)
    types = torch.full_like(ids, change.get("types", 0))
    with torch.no_grad():
        hidden = model(ids, mask if attend else None, types)
    return F.normalize(pool(hidden, mask)[:2], dim=-1)


def bench_mistakes(record):
    model, tokenizer = load_minilm()
    model = model.double()  # so that only the mistake makes a difference
    see = functools.partial(person_and_dog, model, tokenizer)
    tanh = functools.partial(F.gelu, approximate="tanh")
    norms = [m for m in model.modules() if hasattr(m, "eps")]
    found = {
        "none": see(),
        "the mean counts padding": see(pool=lambda h, _: h.mean(1)),
        "padding may be attended": see(attend=False),
        "the first token for the mean": see(pool=lambda h, _: h[:, 0]),
        "token types of 1": see(types=1),
    }
    with mock.patch.object(F, "gelu", tanh):
        found["GELU by tanh"] = see()
    for norm in norms:
        norm.eps = 1e-5
    found["1e-5 in the norms"] = see()
    right = found["none"][1]
    record(
        "mistakes",
        kind="tolerance",
        tolerance=1e-4,
        title="One mistake at a time, MiniLM on two padded sentences",
        prediction=(
            "GELU and the norm's constant should change the fourth digit at "
            "most, so that nobody notices; padding in the mean or in "
            "attention the first, since half of the batch is padding; [CLS], "
            "which this model was not trained to use, everything."
        ),
        columns={"mistake": "", "cosine": "", "away": ""},
        labels={
            "cosine": "cosine of person and dog",
            "away": "1 − cosine of the dog's vector with the right one",
        },
        rows=[
            (name, (a @ b).item(), round((1 - right @ b).item(), 12))
            for name, (a, b) in found.items()
        ],
    )


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_masked_accuracy(record):
    torch.set_num_threads(1)
    ids, other = shakespeare()
    rows = [
        (name, counted(ids, other, views, judged=True).mean().item())
        for name, views in {
            "counting characters": left_only(0),
            "counting, one before": left_only(1),
            "counting, one on each side": both_sides(1),
            "counting, two on each side": both_sides(2),
            "counting, three on each side": both_sides(3),
        }.items()
    ]
    for name, cls in (
        ("the model, left to right", LeftToRightLM),
        ("the model, both sides", BertForMaskedLM),
    ):
        model = fit(cls, ids, other, recipe(SEED))
        rows.append((name, accuracy(model, other)))
        print(rows[-1], flush=True)
    record(
        "masked",
        kind="trained",
        example="how one small model learns to fill gaps",
        seeds=(SEED,),
        spread={"accuracy": 0.02},
        title="Hidden characters guessed right, validation text",
        prediction=(
            "A first run, with batches of 64, stood at a loss of 1.8 nats "
            "after 750 steps. After 2,000 steps of 32 the model that sees "
            "both sides should guess 0.6 right, between counting with one "
            "and with two on each side: it sees more, and has seen too "
            "little text to use it. Left to right, 0.43, so that the other "
            "side is worth 0.17."
        ),
        columns={"who": "", "accuracy": ""},
        labels={"accuracy": "share guessed right", "who": "who guesses"},
        rows=rows,
    )
    grid(record, model, other)


def grid(record, model, other):
    """Who looks at whom in the trained model's first layer."""
    text = other[:16]
    weights = first_layer_weights(model, text)
    heads, n, _ = weights.shape
    record(
        "heads",
        kind="trained",
        example="where the heads of one small model look",
        seeds=(SEED,),
        spread={"weight": None},
        title="Attention weights of the first layer, tiny masked model",
        prediction=(
            "To guess a character, the ones beside it matter most: one head "
            "should look one place back, another one place ahead."
        ),
        columns={"head": "", "query": "", "key": "", "weight": ""},
        rows=[
            (f"head {h + 1}", i, j, weights[h, i, j].item())
            for h, i, j in product(range(heads), range(n), range(n))
        ],
    )
