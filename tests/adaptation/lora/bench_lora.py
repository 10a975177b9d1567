"""What the LoRA chapter measures: counts, memory, and three kinds of runs."""

import statistics

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from llmnotes.adaptation.lora import add_lora
from llmnotes.adaptation.lora.task import both, sentences
from llmnotes.transformer.bert import Bert, BertConfig, load_minilm
from llmnotes.transformer.bert.sentences import embed
from llmnotes.transformer.gpt import GPT, NANOGPT_CPU, GPTConfig
from tests import contests
from tests.adaptation.lora import swap_runs, text_runs
from tests.adaptation.lora.live import step

SEEDS = (0, 1, 2)
# What was tried of each way, so that the best lies inside.
SWAP_RATES = {
    "full": (1e-4, 3e-4, 1e-3),
    "LoRA, r = 8": (1e-3, 2e-3, 5e-3),
}
TEXT_RATES = {
    "full": (4e-4, 1e-3, 3e-3, 1e-2),
    "r = 1": (6e-3, 2e-2, 6e-2, 2e-1),
    "r = 4": text_runs.LARGE,
    "r = 16": text_runs.LARGE,
    "r = 4, attention": text_runs.LARGE,
    "DoRA, r = 4": text_runs.LARGE,
    "rsLoRA, r = 16": text_runs.LARGE,
}
FRONTIER = {
    "full": (2e-4, 4e-4, 1e-3, 3e-3),
    "r = 4": text_runs.LARGE,
    "r = 16": text_runs.LARGE,
}


def gpt(layers, width, heads, vocab=50257):
    """A GPT of a published shape, without its numbers."""
    return GPT(GPTConfig(vocab, 1024, width, layers, heads))


def bert(layers, width, heads):
    """A BERT of a published shape, which RoBERTa and DeBERTa also have."""
    return Bert(BertConfig(30522, width, layers, heads, 4 * width))


# name -> (model, heads' matrices, rank, what the paper says)
PUBLISHED = {
    "GPT-3, r = 1": (lambda: gpt(96, 12288, 96), "c_attn", 1, "4.7 M"),
    "GPT-3, r = 8": (lambda: gpt(96, 12288, 96), "c_attn", 8, "37.7 M"),
    "RoBERTa base, r = 8": (lambda: bert(12, 768, 12), "both", 8, "0.3 M"),
    "RoBERTa large, r = 8": (lambda: bert(24, 1024, 16), "both", 8, "0.8 M"),
    "DeBERTa XXL, r = 16": (lambda: bert(48, 1536, 24), "both", 16, "4.7 M"),
    "GPT-2 medium, r = 4": (lambda: gpt(24, 1024, 16), "c_attn", 4, "0.35 M"),
    "GPT-2 large, r = 4": (lambda: gpt(36, 1280, 20), "c_attn", 4, "0.77 M"),
}


def trained(build, targets, rank):
    """How many numbers an adapter of queries and values has, counted."""
    targets = ["query", "value"] if targets == "both" else targets
    with torch.device("meta"):
        model = add_lora(build(), rank, rank, targets)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def bench_trained_parameters_of_the_paper(record):
    record(
        "counts",
        kind="exact",
        title="Trained numbers of the adapters in LoRA's paper, counted",
        prediction=(
            "4 · r · d numbers in each layer, for queries and values: what "
            "the paper prints, once rounded, but for GPT-2."
        ),
        columns={"model": "", "trained": "", "published": ""},
        labels={"published": "in the paper"},
        rows=[
            (name, trained(build, targets, rank), published)
            for name, (build, targets, rank, published) in PUBLISHED.items()
        ],
    )


MEMORY = {
    "full": lambda model: model,
    "LoRA, r = 4, all": lambda model: add_lora(model, 4, 4),
    "LoRA, r = 4, attention": lambda m: add_lora(m, 4, 4, "attn.c_attn"),
}


def bench_what_a_step_holds_in_memory(record):
    rows = []
    for batch in (1, 16):
        for name, change in MEMORY.items():
            torch.manual_seed(0)
            model = change(GPT(NANOGPT_CPU))
            ids = torch.randint(65, (batch, 65))
            rows.append((batch, name, *step(model, ids)))
    record(
        "memory",
        kind="exact",
        seed=0,
        title="Bytes that a training step holds, a GPT of 0.8 M parameters, "
        "texts of 64 tokens",
        prediction=(
            "Gradients and moments shrink to the share that is trained, "
            "about 4 %. Activations stay: adapters beside all matrices need "
            "each layer's input for A, and the way back goes through every "
            "layer. With 16 texts they are most of the memory, so that less "
            "than a third is saved."
        ),
        columns={
            "batch": "texts", "way": "", "weights": "B", "gradients": "B",
            "optimizer": "B", "activations": "B", "peak": "B",
        },
        labels={"batch": "texts", "way": "trained"},
        rows=rows,
    )  # fmt: skip


def plain_rivals():
    """Shares of right answers of two classifiers that move no weight."""
    known, report = (
        sentences()[s] for s in (swap_runs.KNOWN, swap_runs.REPORT)
    )
    draw = np.random.default_rng(0)
    texts, labels = both(known, draw)
    judged, answers = both(report, draw)
    words = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000)
    )
    yield "counted words", words.fit(texts, labels).score(judged, answers)
    model, tokenizer = load_minilm()
    vectors = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)
    )
    vectors.fit(embed(model, tokenizer, texts), labels)
    yield (
        "MiniLM's vectors",
        vectors.score(embed(model, tokenizer, judged), answers),
    )


def spread_of(values):
    """Mean, least and most of some seeds."""
    return statistics.mean(values), min(values), max(values)


def raced(runs, better, rates_of):
    """{way: best rate}, and {way: reports of three seeds}."""
    best = {}
    for way, rates in rates_of.items():
        best |= contests.tuned(runs.chosen, {(way,): [(way,)]}, rates, better)
    jobs = {w: [(w, best[w,], seed) for seed in SEEDS] for w in rates_of}
    found = contests.runs(runs.reported, sum(jobs.values(), []))
    return best, {w: [found[job] for job in jobs[w]] for w in rates_of}


def named(way):
    """A way as its row is called, without what a condition is cut at."""
    return way.replace(",", "")


def race(best, rates_of, start, **about):
    """What a result says about its race; each way has a grid of its own."""
    starts = {named(way): start for way in rates_of}
    said = contests.race((), best, starts, column="way", **about)
    said["rates"] = {
        named(way): {"tried": list(rates_of[way]), "best": rate}
        for (way,), rate in best.items()
    }
    return said


@pytest.mark.trained
def bench_what_knows_nothing_of_order(record):
    record(
        "plain",
        kind="trained",
        seeds=(0,),
        spread={"right": 0.02},
        example="No ranking: what can be said without moving a weight.",
        title="Were two neighbouring words swapped? Right answers of linear "
        "classifiers that leave MiniLM as it is",
        prediction=(
            "Words and pairs of words that were counted, and MiniLM's "
            "vectors, which were made to tell meaning: both near .54."
        ),
        columns={"way": "", "right": ""},
        labels={"way": "a linear classifier on"},
        rows=list(plain_rivals()),
    )


@pytest.mark.trained
def bench_words_that_were_swapped(record):
    best, found = raced(swap_runs, max, SWAP_RATES)
    rows = []
    for way, reports in found.items():
        share = swap_runs.share(swap_runs.model_for(way)[0])
        right = spread_of([one[0] for one in reports])
        rows.append((named(way), best[way,], share, *right))
    record(
        "swaps",
        kind="trained",
        seeds=SEEDS,
        spread={"rate": None, "trained": 1e-6, "right": 0.03, "lowest": None,
                "highest": None},
        race=race(
            best, SWAP_RATES,
            "MiniLM's own weights; head and A uniform, B zero",
            baseline="full",
            chosen_on="1,000 other sentences, seed 100",
            reported_on="2,000 sentences that nobody chose by, seeds 0 to 2",
        ),
        title="Were two neighbouring words swapped? Right answers on 2,000 "
        "sentences with and without a swap",
        prediction=(
            "Full fine-tuning reaches .73, and LoRA with 1.5 % of the "
            "numbers comes within 1.5 points of it."
        ),
        columns={"way": "", "rate": "", "trained": "%", "right": "",
                 "lowest": "", "highest": ""},
        labels={
            "way": "trained", "rate": "best rate",
            "trained": "numbers trained",
            "right": f"right, mean of {len(SEEDS)} seeds",
            "lowest": "worst seed", "highest": "best seed",
        },
        rows=rows,
    )  # fmt: skip


TEXT_COLUMNS = {
    "way": "", "rate": "", "new": "nat", "lowest": "nat", "highest": "nat",
    "old": "nat",
}  # fmt: skip


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_ways_of_reading_shakespeare(record):
    best, found = raced(text_runs, min, TEXT_RATES)
    rows = []
    for way, reports in found.items():
        new, old = zip(*reports, strict=True)
        rows.append(
            (named(way), best[way,], *spread_of(new), statistics.mean(old))
        )
    record(
        "text",
        kind="trained",
        seeds=SEEDS,
        spread={"rate": None, "new": 0.03, "lowest": None, "highest": None,
                "old": 0.15},
        race=race(
            best, TEXT_RATES,
            "the GPT that has read Python's reference; A uniform, B zero",
            baseline="full",
            chosen_on="the last 5 % of the training text, seed 100",
            reported_on="40,000 characters of each validation text, seeds 0 "
            "to 2",
        ),
        title=f"A GPT that has read Python's reference reads Shakespeare, "
        f"{text_runs.STEPS} steps, each way at its best rate",
        prediction=(
            "The higher the rank, the lower the new loss: 2.2 with rank 1, "
            "2.0 with 4, 1.96 with 16, full 1.93. At rank 4, attention alone "
            "costs 0.1 more than all matrices. DoRA and rsLoRA win 0.01 over "
            "LoRA, if anything, since every one has its own rate."
        ),
        columns=TEXT_COLUMNS,
        labels={
            "way": "trained", "rate": "best rate",
            "new": f"Shakespeare, mean of {len(SEEDS)} seeds",
            "lowest": "best seed", "highest": "worst seed",
            "old": "Python's reference afterwards",
        },
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_what_is_learned_and_what_forgotten(record):
    rows = []
    for way, rates in FRONTIER.items():
        for rate in rates:
            jobs = [(way, rate, seed) for seed in SEEDS]
            found = contests.runs(text_runs.reported, jobs)
            new, old = zip(*(found[job] for job in jobs), strict=True)
            rows.append(
                (way, rate, statistics.mean(new), max(new) - min(new),
                 statistics.mean(old), max(old) - min(old))
            )  # fmt: skip
    record(
        "frontier",
        kind="trained",
        seeds=SEEDS,
        spread={"new": 0.05, "new_apart": None, "old": 0.2,
                "old_apart": None},
        example="No ranking: every way is shown at every rate that was "
        "tried, since the question is what a rate trades for what.",
        title=f"New loss and old loss after {text_runs.STEPS} steps on "
        "Shakespeare, by rate",
        prediction=(
            "Each at its best rate, LoRA learns less and forgets less. At "
            "equal new loss it is the other way round: full fine-tuning with "
            "a small rate forgets less, by 0.2 nat near 2.07."
        ),
        columns={"way": "", "rate": "", "new": "nat", "new_apart": "nat",
                 "old": "nat", "old_apart": "nat"},
        labels={
            "way": "trained", "new": "Shakespeare",
            "old": "Python's reference",
            "new_apart": "apart", "old_apart": "apart, old",
        },
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_the_rank_of_a_full_update(record):
    rates = {"full": TEXT_RATES["full"]}
    best = raced(text_runs, min, rates)[0]["full",]
    jobs = [(best, seed) for seed in SEEDS]
    found = contests.runs(text_runs.truncated, jobs)
    held, drawn, new = (
        [statistics.mean(column) for column in zip(*lists, strict=True)]
        for lists in zip(*(found[job] for job in jobs), strict=True)
    )
    record(
        "spectrum",
        kind="trained",
        seeds=SEEDS,
        spread={"held": 0.03, "drawn": 0.01, "new": 0.05},
        example="No ranking: one way of training, looked at afterwards.",
        title="The update that full fine-tuning makes, cut down to a rank",
        prediction=(
            "The first 16 of 128 singular values hold two thirds of ‖ΔW‖², "
            "of a random matrix a quarter. Cut down to rank 16 the update "
            "costs less than 0.1 nat; to rank 1 most of what was learned in "
            "the matrices is gone."
        ),
        columns={"rank": "", "held": "", "drawn": "", "new": "nat"},
        labels={
            "held": "of ‖ΔW‖² in the first values",
            "drawn": "of a random matrix's",
            "new": "loss on Shakespeare with the rest cut off",
        },
        rows=[
            (rank, *row)
            for rank, row in zip(
                text_runs.RANKS, zip(held, drawn, new, strict=True),
                strict=True,
            )
        ],
    )  # fmt: skip
