"""What the pages conclude from the GPT chapter's results."""

from tests.claims import claimed

WITHOUT = {"shift": "no token shift", "RoPE": "no RoPE"}
WITHIN = ("no QK-norm", "GELU in place of ReLU²")


def test_muon_is_worth_more_than_all_the_rest_together():
    cost = claimed(
        "transformer/gpt:ablation",
        "Muon is worth more than all the rest together, as predicted",
    )
    muon = "AdamW in place of Muon"
    rest = [
        share
        for name in cost.every("without")
        if name != muon and (share := cost("cost", without=name)) > 0
    ]
    assert cost("cost", without=muon) > sum(rest)


def test_the_shift_and_rope_come_next_and_the_others_are_within_the_spread():
    table = claimed(
        "transformer/gpt:ablation",
        "and the shift and RoPE come next; QK-norm and ReLU² stay within the "
        "spread of the seeds.",
        "in runs of 300 steps with three seeds",
    )
    small = [table("cost", without=name) for name in WITHIN]
    for name in WITHOUT.values():
        cost = table("cost", without=name)
        assert cost > max(small)
        assert cost > table("spread", without=name)
    for name, cost in zip(WITHIN, small, strict=True):
        assert cost < table("spread", without=name)


def test_the_pair_table_does_better_from_zero():
    table = claimed(
        "transformer/gpt:ablation",
        "started from zero, the pair table does *better* than started from "
        "the counts",
    )
    assert table("cost", without="pair table from zero") < 0


def test_the_recipe_gets_further_with_the_same_parameters_and_tokens():
    table = claimed(
        "transformer/gpt:losses",
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
        "transformer/gpt:record",
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
    table = claimed("transformer/gpt:record", "Its step is dearer")
    seconds = {
        model: table("seconds", model=model) / table("steps", model=model)
        for model in ("the recipe", "plain PyTorch, our schedule")
    }
    assert seconds["the recipe"] > seconds["plain PyTorch, our schedule"]


def test_with_adamw_the_recipe_does_not_arrive():
    table = claimed(
        "transformer/gpt:record",
        "With AdamW in Muon's place the same recipe does not arrive in 600.",
    )
    row = {"model": "the recipe with AdamW"}
    assert table("steps", **row) == 600
    assert table("seconds", **row) == "not reached"


def test_a_head_of_the_first_layer_looks_one_character_back():
    table = claimed(
        "transformer/gpt:heads",
        "The second head of the first layer forms a line just below the "
        "diagonal: it looks one character back, as we expected.",
    )
    line = [
        table("weight", head="layer 1 head 2", query=i, key=i - 1)
        for i in range(1, 15)
    ]
    assert sum(line) / len(line) > 0.5


def test_one_head_of_the_last_layer_forms_a_column_on_the_capital():
    table = claimed(
        "transformer/gpt:heads",
        "Of the last layer's heads three spread, and one forms a column on "
        "the capital letter of *Citizen*.",
    )
    capital = "First Citizen".index("C")
    columns = [
        table.every("weight", head=f"layer 4 head {head}", key=capital)
        for head in range(1, 5)
    ]
    means = sorted(sum(c[1:]) / len(c[1:]) for c in columns)
    assert means[-1] > 2 * means[-2]


def test_attention_loses_on_short_texts_and_few_steps():
    table = claimed(
        "transformer/gpt_recurrent:losses",
        "Attention loses.",
        "We had expected GPT to be level with the gated ones and the RNN to "
        "be last, and were wrong about all but the GRU.",
        "On short texts and few steps, a recurrence of the same size is hard "
        "to beat.",
        "at equal size the RNN is twice as wide as the LSTM",
        "(again within one per cent)",
    )
    loss = {
        model: table("loss", model=model, best="yes")
        for model in ("GRU", "RNN", "LSTM", "GPT")
    }
    assert sorted(loss, key=loss.get) == ["GRU", "RNN", "LSTM", "GPT"]
    assert loss["GPT"] > loss["LSTM"] + 0.1
    wide = {m: table("width", model=m, best="yes") for m in ("RNN", "LSTM")}
    assert 1.9 < wide["RNN"] / wide["LSTM"] < 2.1
    sizes = table.every("parameters")
    assert max(sizes) < 1.01 * min(sizes)


def test_each_keeps_its_better_rate():
    table = claimed(
        "transformer/gpt_recurrent:losses",
        "Each model at the better of two learning rates.",
    )
    for model in set(table.every("model")):
        best = table("loss", model=model, best="yes")
        assert best == min(table.every("loss", model=model))


def test_gpt_is_behind_at_every_step_and_still_falling():
    table = claimed(
        "transformer/gpt_recurrent:curves",
        "attention has to find that out first, and has hardly begun",
    )
    for step in sorted(set(table.every("step"))):
        others = [
            table("loss", model=model, step=step)
            for model in ("RNN", "LSTM", "GRU")
        ]
        assert table("loss", model="GPT", step=step) > max(others)
    falls = table("loss", model="GPT", step=1000)
    assert table("loss", model="GPT", step=1200) < falls


def test_only_with_two_processes_the_fused_block_is_a_little_ahead():
    table = claimed(
        "transformer/gpt:step",
        "On PyTorch's two threads the fused block even loses",
        "Only with one process per core does it come out ahead",
        "with the longer blocks of nanoGPT's setting it is the quickest of "
        "all",
    )
    mini = {"setting": "miniGPT"}
    nano = {"setting": "nanoGPT on a CPU"}
    assert table("ratio", model="our GPT, fused", **mini) > 1
    for setting in (mini, nano):
        ours = "our GPT, fused, two processes"
        assert 0.9 < table("ratio", model=ours, **setting) < 1
    quickest = min(table.every("seconds", **nano))
    theirs = "plain PyTorch, two processes"
    assert table("seconds", model=theirs, **nano) == quickest
