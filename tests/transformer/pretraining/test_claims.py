"""What the pages conclude from the pretraining chapter's results."""

from tests.claims import claimed

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


def test_the_recipe_saves_steps_and_a_schedule_a_third_of_them():
    table = claimed(
        "transformer/pretraining:record",
        "At a constant rate plain PyTorch took more steps than the 1,900 we "
        "had predicted.",
        "A schedule that ends saves a third of them",
        "it is the number of steps that falls",
        "How soon can two cores reach a validation loss of 1.90 with at most "
        "0.81 million parameters?",
    )
    constant = table("steps", model="plain PyTorch, constant rate")
    schedule = table("steps", model="plain PyTorch, our schedule")
    assert constant > 1900
    assert 0.25 < 1 - schedule / constant < 0.45
    assert table("steps", model="the recipe") < schedule / 3
    assert max(table.every("parameters")) < 0.815e6


def test_the_recipes_step_is_dearer():
    table = claimed("transformer/pretraining:record", "Its step is dearer")
    seconds = {
        model: table("seconds", model=model) / table("steps", model=model)
        for model in ("the recipe", "plain PyTorch, our schedule")
    }
    assert seconds["the recipe"] > seconds["plain PyTorch, our schedule"]


def test_with_adamw_the_recipe_does_not_arrive():
    table = claimed(
        "transformer/pretraining:record",
        "With AdamW in Muon's place the same recipe does not arrive in 600.",
    )
    row = {"model": "the recipe with AdamW"}
    assert table("steps", **row) == 600
    assert table("seconds", **row) == "not reached"
