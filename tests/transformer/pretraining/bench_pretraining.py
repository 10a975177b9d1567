"""What the pretraining chapter trains: two recipes, shares, a record."""

import contextlib
import functools
import statistics

import pytest

from llmnotes import train
from llmnotes.transformer.gpt import parameters
from tests import contests
from tests.transformer.gpt.training_runs import (
    MINI,
    NANO,
    plain,
    shakespeare,
    trained,
)
from tests.transformer.pretraining import time_race
from tests.transformer.pretraining.time_race import (
    CONTESTANTS,
    SECONDS,
    STARTS,
)
from tests.transformer.pretraining.training_runs import (
    ABLATION,
    STEPS,
    ablated,
    chosen,
    recipe,
)

SEED, SEEDS = 0, (0, 1, 2)
SCALES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_losses(record):
    ids, other = shakespeare()
    rows = []
    for setting in (MINI, NANO):
        for name in ("GPT-2's architecture", "the recipe"):
            if name == "the recipe":
                parts = recipe(setting, ids, seed=SEED)
            else:
                parts = plain(setting, seed=SEED)
            trained(*parts, ids)
            model, _, config = parts
            final = train.evaluate_all(model, other, config)
            rows.append((setting.name, name, parameters(model), final))
            print(rows[-1], flush=True)
    record(
        "losses",
        kind="trained",
        example="one seed of each recipe; the ablation has three",
        seeds=(SEED,),
        spread={"loss": 0.03},
        title="Validation loss of the same parameters and steps, two recipes",
        prediction=(
            "Plain PyTorch reaches 1.76 in the miniGPT setting and nanoGPT's "
            "README reports 1.88 in the other. Muon and the token shift "
            "should take 0.1 to 0.2 off both."
        ),
        columns={"setting": "", "model": "", "parameters": "", "loss": "nat"},
        labels={"loss": "loss on the whole validation text"},
        rows=rows,
    )


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_every_ingredients_share(record):
    contestants = {(name,): [(name,)] for name in ABLATION}
    best = contests.tuned(chosen, contestants, SCALES, min)
    jobs = {n: [(n, best[n,], seed) for seed in SEEDS] for n in ABLATION}
    found = contests.runs(ablated, sum(jobs.values(), []))
    rows = []
    for name in ABLATION:
        losses = [found[job][0] for job in jobs[name]]
        mean, cost = statistics.mean(losses), 0
        if rows:
            cost = mean - rows[0][2]
        ends = min(losses), max(losses)
        rows.append((name, best[name,], mean, *ends, cost))
    record(
        "ablation",
        kind="trained",
        seeds=SEEDS,
        spread={
            "scale": None, "loss": 0.05, "lowest": None, "highest": None,
            "cost": 0.05,
        },
        race=contests.race(
            SCALES,
            best,
            dict.fromkeys(ABLATION, "the recipe's: Recipe.initialise")
            | {"pair table from zero": "the same, the pair table at zero"},
            baseline="AdamW in place of Muon",
            chosen_on="the last 5 % of the training text, seed 100",
            reported_on="the validation text, seeds 0 to 2",
            column="without",
        ),
        title=f"The recipe without one ingredient each, {STEPS} steps, rates "
        "tuned",
        prediction=(
            "In the first edition AdamW ran at the recipe's rates and Muon "
            "was worth 0.235 nat. A review tuned AdamW by hand and found "
            "0.18. With five rates for each we expect Muon to be worth 0.15 "
            "to 0.2, still first; the shift second; and QK-norm, ReLU² and "
            "the pair table within the spread of the seeds."
        ),
        columns={
            "without": "", "scale": "", "loss": "nat", "lowest": "nat",
            "highest": "nat", "cost": "nat",
        },
        labels={
            "scale": "best rates, times the recipe's",
            "loss": f"validation loss, mean of {len(SEEDS)} seeds",
            "lowest": "best seed",
            "highest": "worst seed",
            "cost": "more than the recipe",
        },
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_the_same_time(record):
    contestants = {(name,): [(name,)] for name in CONTESTANTS}
    best = contests.tuned(time_race.chosen, contestants, SCALES, min)
    jobs = {n: [(n, best[n,], seed) for seed in SEEDS] for n in CONTESTANTS}
    found = contests.runs(time_race.reached, sum(jobs.values(), []))
    ids, _ = shakespeare()
    rows = []
    for name, one in CONTESTANTS.items():
        losses = [found[job][0] for job in jobs[name]]
        model, _, _ = one.build(ids, 1.0, 0)
        rows.append(
            (
                *(name, parameters(model), one.steps, best[name,] * one.rate),
                *(statistics.mean(losses), min(losses), max(losses)),
            )
        )
    record(
        "record",
        kind="trained",
        seeds=SEEDS,
        spread={"rate": None, "loss": 0.05, "lowest": None, "highest": None},
        race=contests.race(
            SCALES,
            best,
            STARTS,
            baseline="plain PyTorch with a schedule",
            chosen_on="the last 5 % of the training text, seed 100",
            reported_on="the validation text, seeds 0 to 2",
        ),
        title=f"Validation loss after {SECONDS} seconds on two cores",
        prediction=(
            "In the first edition the recipe needed a third of the time of "
            "plain PyTorch with a schedule, whose rate was not tuned. For "
            "equally long we expect a schedule to be worth 0.1 nat, the "
            "recipe with AdamW to be level with plain PyTorch, since its "
            "steps are fewer, and Muon to be worth 0.2."
        ),
        columns={
            "model": "", "parameters": "", "steps": "", "rate": "",
            "loss": "nat", "lowest": "nat", "highest": "nat",
        },
        labels={
            "steps": "steps in that time",
            "rate": "best rate of AdamW",
            "loss": f"validation loss, mean of {len(SEEDS)} seeds",
            "lowest": "best seed",
            "highest": "worst seed",
        },
        rows=rows,
    )  # fmt: skip


@pytest.mark.timing
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_a_step_of_each(record, race):
    ids, _ = shakespeare()
    with contextlib.ExitStack() as stack:
        go = {}
        for name, one in CONTESTANTS.items():
            team = stack.enter_context(
                one.trainer(*one.build(ids, 1.0, SEED), ids)
            )
            go[name] = functools.partial(team.step, 1)
        times = race(go, rounds=9, slice_s=0.5)
    seconds = {name: statistics.median(t) for name, t in times.items()}
    record(
        "seconds",
        kind="timing",
        title="One training step of each on two cores",
        prediction=(
            "Muon multiplies about as much as the model: a step of the "
            "recipe half as long again as plain PyTorch's. With AdamW in "
            "its place, level."
        ),
        columns={"model": "", "seconds": "s", "steps": ""},
        labels={
            "seconds": "time of a step",
            "steps": f"steps in {SECONDS} seconds",
        },
        rows=[(n, s, round(SECONDS / s)) for n, s in seconds.items()],
    )
