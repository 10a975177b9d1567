"""What the pages conclude from the pretraining chapter's results."""

from tests.claims import claimed
from tests.transformer.pretraining.time_race import SECONDS

RECORD = "transformer/pretraining:record"
ENDS = ("lowest", "highest")
WITHOUT = {"shift": "no token shift", "RoPE": "no RoPE"}
WITHIN = ("no QK-norm", "GELU in place of ReLU²")


def test_muon_is_worth_more_than_all_the_rest_together():
    cost = claimed(
        "transformer/pretraining:ablation",
        "Muon is worth more than all the rest together, as predicted",
    )
    muon = "AdamW in place of Muon"
    rest = [
        share
        for name in cost.every("without")
        if name != muon and (share := cost("cost", without=name)) > 0
    ]
    assert cost("cost", without=muon) > sum(rest)


def test_the_shift_and_rope_come_next_beyond_all_seeds_of_the_recipe():
    table = claimed(
        "transformer/pretraining:ablation",
        "The shift and RoPE come next, and all their seeds lie above all of "
        "the recipe's. QK-norm and ReLU² make no difference that three seeds "
        "can see.",
        "Each row is a model trained for 300 steps, three times",
    )
    worst = table("highest", without="the recipe")
    for name in WITHOUT.values():
        assert table("lowest", without=name) > worst
    best = table("lowest", without="the recipe")
    for name in WITHIN:
        assert table("lowest", without=name) < worst
        assert table("highest", without=name) > best


def test_adamw_wants_a_quarter_of_the_recipes_rates():
    table = claimed(
        "transformer/pretraining:ablation",
        "At the recipe's own rates, four times what suits AdamW",
    )
    assert table("scale", without="AdamW in place of Muon") == 0.25


def test_the_pair_table_does_better_from_zero_in_every_seed():
    table = claimed(
        "transformer/pretraining:ablation",
        "started from zero, the pair table does *better* than started from "
        "the counts",
        "in every seed",
    )
    zero = table("highest", without="pair table from zero")
    assert zero < table("lowest", without="the recipe")


def test_the_recipe_gets_further_with_the_same_parameters_and_tokens():
    table = claimed(
        "transformer/pretraining:losses",
        "How far does a better recipe get with the same parameters and the "
        "same tokens?",
        "We hold the parameters at 0.80 to 0.81 million",
    )
    for setting in ("miniGPT", "nanoGPT on a CPU"):
        plain = table("loss", setting=setting, model="GPT-2's architecture")
        assert table("loss", setting=setting, model="the recipe") < plain
    assert all(0.80e6 <= n < 0.815e6 for n in table.every("parameters"))


def test_half_a_minute_of_each():
    table = claimed(
        RECORD,
        "Plain PyTorch ends at",
        "with a schedule or without",
        "the two cannot be told apart.",
        "with at most 0.81 million parameters",
    )
    constant, schedule = (
        [table(end, model=f"plain PyTorch {how}") for end in ENDS]
        for how in ("at a constant rate", "with a schedule")
    )
    assert schedule[0] < constant[0] and constant[1] < schedule[1]
    assert max(table.every("parameters")) < 0.815e6


def test_two_thirds_are_made_by_the_model_and_the_last_by_muon():
    table = claimed(
        RECORD,
        "are made by the model and its start",
        "is Muon's.",
        "Muon adds half of what was guessed",
    )
    plain, adamw, muon = (
        table("loss", model=model)
        for model in (
            *("plain PyTorch with a schedule", "the recipe with AdamW"),
            "the recipe",
        )
    )
    assert round(plain - muon, 2) == 0.31
    assert round(plain - adamw, 2) == 0.20
    assert 0.6 < (plain - adamw) / (plain - muon) < 0.7


def test_steps_are_those_that_fit_into_half_a_minute():
    table, timed = (
        claimed(RECORD),
        claimed(
            "transformer/pretraining:seconds",
            "its steps with AdamW are no dearer than plain PyTorch's",
        ),
    )
    for model in table.every("model"):
        steps = table("steps", model=model)
        assert 0.9 < steps * timed("seconds", model=model) / SECONDS < 1.1
    plain = timed("seconds", model="plain PyTorch with a schedule")
    assert timed("seconds", model="the recipe with AdamW") < 1.1 * plain
