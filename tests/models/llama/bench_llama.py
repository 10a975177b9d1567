"""What the Llama chapter measures: counts, and each change undone."""

import statistics

import pytest
import torch

from llmnotes.models import llama
from llmnotes.transformer.gpt import parameters
from tests import contests
from tests.models.llama.training_runs import (
    ABLATION,
    OLD,
    STEPS,
    WHOLE,
    ablated,
    chosen,
)

SEEDS = (0, 1, 2)
RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
MODELS = {
    "Llama 1 7B": (llama.LLAMA_1_7B, "6.7 B"),
    "Llama 1 13B": (llama.LLAMA_1_13B, "13.0 B"),
    "Llama 1 33B": (llama.LLAMA_1_33B, "32.5 B"),
    "Llama 1 65B": (llama.LLAMA_1_65B, "65.2 B"),
    "Llama 2 70B": (llama.LLAMA_2_70B, "70 B"),
    "Llama 3 8B": (llama.LLAMA_3_8B, "8 B"),
    "Llama 3 70B": (llama.LLAMA_3_70B, "70 B"),
    "Llama 3.1 405B": (llama.LLAMA_3_1_405B, "405 B"),
    "Llama 3.2 1B": (llama.LLAMA_3_2_1B, "1.23 B"),
    "Llama 3.2 3B": (llama.LLAMA_3_2_3B, "3.21 B"),
}


def shares(config):
    """Parameters, and the percentages in attention, MLP and the ends."""
    with torch.device("meta"):
        model = llama.Llama(config)
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
        title="Parameters of the published models, and where they are",
        prediction=(
            "What the papers say, once rounded. Two thirds in the MLP with "
            "MHA, more with GQA; embedding and head a few per cent, and a "
            "fifth in the smallest, although it ties them."
        ),
        columns={
            "model": "", "published": "", "parameters": "", "attention": "%",
            "mlp": "%", "ends": "%",
        },
        labels={"mlp": "MLP", "ends": "embedding and head"},
        rows=[
            (name, published, *shares(config))
            for name, (config, published) in MODELS.items()
        ],
    )  # fmt: skip


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_each_change_undone(record):
    contestants = {(name,): [(name,)] for name in ABLATION}
    best = contests.tuned(chosen, contestants, RATES, min)
    jobs = {n: [(n, best[n,], seed) for seed in SEEDS] for n in ABLATION}
    found = contests.runs(ablated, sum(jobs.values(), []))
    rows = []
    for name in ABLATION:
        losses = [found[job][0] for job in jobs[name]]
        mean = statistics.mean(losses)
        cost = mean - rows[0][2] if rows else 0
        rows.append((name, best[name,], mean, min(losses), max(losses), cost))
    record(
        "ablation",
        kind="trained",
        seeds=SEEDS,
        spread={
            "rate": None, "loss": 0.03, "lowest": None, "highest": None,
            "cost": 0.03,
        },
        race=contests.race(
            RATES,
            best,
            dict.fromkeys(ABLATION, "matrices from N(0, 0.02²), as both"),
            baseline=OLD,
            chosen_on="the last 5 % of the training text, seed 100",
            reported_on="the validation text, seeds 0 to 2",
            column="undone",
        ),
        title=f"Llama with one change undone each, {STEPS} steps, the same "
        "parameters, rates tuned",
        prediction=(
            "RoPE should be worth most, 0.05 to 0.1 nat, because a table of "
            "64 positions has to be learned first; SwiGLU 0.02 to 0.04. "
            "RMSNorm for LayerNorm, biases and the tied head should be "
            "within the spread of the seeds, and so should MHA: what its "
            "keys cost, the MLP lacks. All six together: 0.1 to 0.15."
        ),
        columns={
            "undone": "", "rate": "", "loss": "nat", "lowest": "nat",
            "highest": "nat", "cost": "nat",
        },
        labels={
            "rate": "best rate",
            "loss": f"validation loss, mean of {len(SEEDS)} seeds",
            "lowest": "best seed",
            "highest": "worst seed",
            "cost": f"more than {WHOLE}",
        },
        rows=rows,
    )  # fmt: skip
