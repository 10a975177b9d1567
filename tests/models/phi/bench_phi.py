"""What the Phi chapter measures: counts, what a block costs, and data."""

import statistics

import pytest
import torch

from llmnotes.models import phi
from llmnotes.models.kv_cache import bytes_per_token, heads_of
from llmnotes.models.phi import ParallelBlock, PartlyRotary, Phi, Phi3
from llmnotes.transformer.gpt import parameters
from llmnotes.transformer.rope import angles
from tests import contests
from tests.models.phi.blocks import SerialBlock, chain, kept
from tests.models.phi.training_runs import (
    CLEAN,
    SERIAL,
    STEPS,
    TEXTS,
    chosen,
    reported,
)

SEEDS = (0, 1, 2)
RATES = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
MODELS = {
    "phi-1, phi-1.5": (phi.PHI_1, "1.3 B"),
    "phi-2": (phi.PHI_2, "2.7 B"),
    "Phi-3-mini": (phi.PHI_3_MINI, "3.8 B"),
    "Phi-3-medium": (phi.PHI_3_MEDIUM, "14 B"),
    "Phi-4": (phi.PHI_4, "14 B"),
}


def shares(config):
    """Parameters, and the percentages in attention, MLP and the ends."""
    build = Phi if isinstance(config, phi.PhiConfig) else Phi3
    with torch.device("meta"):
        model = build(config)
    whole = parameters(model)
    found = {"self_attn": 0, "mlp": 0, "embed_tokens": 0, "lm_head": 0}
    for name, p in model.named_parameters():
        for part in found:
            if part in name:
                found[part] += p.numel()
    ends = found["embed_tokens"] + found["lm_head"]
    parts = found["self_attn"], found["mlp"], ends
    return whole, *(100 * part / whole for part in parts)


def bench_parameters_of_the_published_models(record):
    record(
        "counts",
        kind="exact",
        seed=None,
        title="Parameters of the published models, how much of a head they "
        "turn, and what a token costs in the cache",
        prediction=(
            "What was published, once rounded, but for phi-1, which says 1.3 "
            "and has 1.4: its head counts. 32 numbers of a head turned in the "
            "old ones, all in the new. Two thirds in the MLP."
        ),
        columns={
            "model": "", "published": "", "parameters": "", "attention": "%",
            "mlp": "%", "ends": "%", "turned": "", "head": "", "cache": "B",
        },
        labels={
            "mlp": "MLP", "ends": "embedding and head",
            "turned": "numbers turned", "head": "of a head's",
            "cache": "cache for each token",
        },
        rows=[
            (
                name, published, *shares(config), config.rotary_dim,
                config.head_dim, bytes_per_token(heads_of(config)),
            )
            for name, (config, published) in MODELS.items()
        ],
    )  # fmt: skip


def bench_a_block_of_each_kind(record):
    config = phi.LAPTOP
    kinds = {"serial": SerialBlock, "parallel": ParallelBlock}
    rows = []
    for name, kind in kinds.items():
        torch.manual_seed(0)
        block = kind(config, 0)
        width = config.hidden_size
        rows.append(
            (name, parameters(block), chain(block, width), kept(block, width))
        )
    record(
        "blocks",
        kind="exact",
        seed=0,
        title="The same parts in series and side by side, width "
        f"{config.hidden_size}",
        prediction=(
            "The parallel one has one norm less, two numbers for each "
            "channel; four products in a row where the other has six; and it "
            "need not keep the second norm's input and output for the way "
            "back, two rows of the width and two numbers."
        ),
        columns={"block": "", "parameters": "", "chain": "", "kept": ""},
        labels={
            "chain": "products in a row",
            "kept": "numbers kept for each token",
        },
        rows=rows,
    )


LAGS = [2**i for i in range(12)]
TURNED = {"64 of 64": (64, 64), "32 of 64": (64, 32), "32 of 80": (80, 32)}


def match(head, turned, lag):
    """How well a row of ones matches itself so far away; 1: as at once."""
    row = torch.ones(1, 1, 2, head, dtype=torch.float64)
    places = torch.tensor([0, lag])
    turn = PartlyRotary(angles(places, turned, dtype=torch.float64))
    query, key, _ = turn(row, row, row)
    return (query[0, 0, 1] @ key[0, 0, 0]).item() / head


def bench_what_distance_leaves_of_a_match(record):
    record(
        "distance",
        kind="tolerance",
        seed=None,
        tolerance=1e-9,
        title="Score of a query with a key of the same numbers, by distance",
        prediction=(
            "All turned: it falls towards 0. Half turned: towards 1/2, the "
            "share that knows no distance; 32 of 80: towards 3/5."
        ),
        columns={"turned": "", "lag": "positions", "score": ""},
        labels={"score": "score, of what it is at no distance"},
        rows=[
            (name, lag, match(*sizes, lag))
            for name, sizes in TURNED.items()
            for lag in LAGS
        ],
    )


def raced(contestants):
    """Best rates and three reports of each, and the rows of a table."""
    begins = {(name,): [(name,)] for name in contestants}
    best = contests.tuned(chosen, begins, RATES, min)
    jobs = {n: [(n, best[n,], seed) for seed in SEEDS] for n in contestants}
    found = contests.runs(reported, sum(jobs.values(), []))
    rows = []
    for name in contestants:
        losses = [found[job][0] for job in jobs[name]]
        mean = statistics.mean(losses)
        cost = mean - rows[0][2] if rows else 0
        rows.append((name, best[name,], mean, min(losses), max(losses), cost))
    return best, rows


COLUMNS = {
    "rate": "", "loss": "nat", "lowest": "nat", "highest": "nat",
    "cost": "nat",
}  # fmt: skip
SPREAD = {
    "rate": None, "loss": 0.03, "lowest": None, "highest": None, "cost": 0.03,
}  # fmt: skip


def labels(first):
    """What the columns of a race are called."""
    return {
        "rate": "best rate",
        "loss": f"validation loss, mean of {len(SEEDS)} seeds",
        "lowest": "best seed",
        "highest": "worst seed",
        "cost": f"more than {first}",
    }


def race(best, contestants, baseline, column):
    """What the result says about its race."""
    return contests.race(
        RATES,
        best,
        dict.fromkeys(contestants, "matrices from N(0, 0.02²), biases 0"),
        baseline=baseline,
        chosen_on="the last 5 % of the training text, clean, seed 100",
        reported_on="the validation text, clean, seeds 0 to 2",
        column=column,
    )


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_clean_and_noisy_text(record):
    best, rows = raced(TEXTS)
    record(
        "noise",
        kind="trained",
        seeds=SEEDS,
        spread=SPREAD,
        race=race(best, TEXTS, CLEAN, "text"),
        title=f"The same Phi on clean and on noisy text, {STEPS} steps, "
        "judged on clean text, rates tuned",
        prediction=(
            "Whoever learns that a share s of the letters is drawn at random "
            "gives every letter at most 1 − s of its chance, so 20 % must "
            "cost 0.22 nat; we expect 0.30, since the context is noisy too. "
            "Shuffled lines can be told from the others and cost what their "
            "share of the steps would have taught: 0.03 at 20 %, 0.1 at "
            "50 %. Leaving half of the lines out, with as many steps as "
            "before, costs less than 0.02, for the text is not read once in "
            "that time."
        ),
        columns={"text": "", **COLUMNS},
        labels=labels(CLEAN),
        rows=rows,
    )


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_parallel_beside_serial(record):
    blocks = {SERIAL: "serial", CLEAN: "parallel"}
    chosen_rates, found = raced(blocks)
    best = {(blocks[n],): rate for (n,), rate in chosen_rates.items()}
    rows = [(blocks[name], *rest) for name, *rest in found]
    record(
        "quality",
        kind="trained",
        seeds=SEEDS,
        spread=SPREAD,
        race=race(best, blocks.values(), "serial", "block"),
        title=f"A Phi of serial and of parallel blocks, {STEPS} steps, rates "
        "tuned",
        prediction=(
            "Four layers are few, and side by side they are half as deep: "
            "the parallel one should be worse by 0.01 to 0.03 nat, near the "
            "spread of the seeds."
        ),
        columns={"block": "", **COLUMNS},
        labels=labels("serial"),
        rows=rows,
    )
