"""What the training loop claims, proved."""

import math
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from llmnotes import checkpoint, data
from llmnotes import run as runs
from llmnotes import train as loop
from llmnotes.train import (
    TrainConfig,
    adamw,
    evaluate,
    evaluate_all,
    learning_rate,
    loss,
    train,
)
from tests.tiny_run import CONFIG, VOCAB, go, same, texts, tiny


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# The loss, the schedule, the optimizer


def test_equal_logits_cost_the_log_of_the_vocabulary():
    model = nn.Embedding(VOCAB, VOCAB)
    nn.init.zeros_(model.weight)
    ids = torch.randint(VOCAB, (3, 5))
    assert loss(model, ids, ids).item() == pytest.approx(math.log(VOCAB))


def test_by_hand_a_token_of_probability_one_quarter_costs_ln_4():
    model = nn.Embedding(2, 2)
    model.weight.data = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    got = loss(model, torch.zeros(1, 1).long(), torch.ones(1, 1).long())
    assert got.item() == pytest.approx(math.log(4))


def test_the_loss_of_low_precision_logits_is_summed_in_float32():
    model = nn.Embedding(VOCAB, VOCAB).bfloat16()
    ids = torch.randint(VOCAB, (3, 5))
    assert loss(model, ids, ids).dtype == torch.float32
    assert loss(model.double(), ids, ids).dtype == torch.float64


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_rate_rises_in_a_line_and_falls_to_the_minimum(schedule):
    config = TrainConfig(
        steps=104,
        warmup=4,
        learning_rate=0.8,
        min_learning_rate=0.1,
        schedule=schedule,
    )
    rates = [learning_rate(step, config) for step in range(104)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])
    assert rates[-1] == pytest.approx(0.1)
    middle = (rates[53] + rates[54]) / 2
    assert middle == pytest.approx(0.45, abs=1e-6)
    assert all(a > b for a, b in zip(rates[4:], rates[5:], strict=False))
    bend = rates[4] - rates[5] - (rates[54] - rates[55])
    assert bend < -0.001 if schedule == "cosine" else abs(bend) < 1e-9


@pytest.mark.parametrize("warmup", [0, 1, 9, 50])
def test_even_the_first_step_learns(warmup):
    config = replace(CONFIG, warmup=warmup)
    rates = [learning_rate(step, config) for step in range(config.steps)]
    assert min(rates) > 0
    assert max(rates) <= config.learning_rate * (1 + 1e-12)


def test_matrices_decay_and_vectors_do_not():
    model = tiny()
    model[3].weight.requires_grad_(False)
    config = replace(CONFIG, weight_decay=0.3, betas=(0.7, 0.8))
    optimizer = adamw(model, config)
    decays = {
        id(p): group["weight_decay"]
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert decays == {
        id(model[0].weight): 0.3,
        id(model[2].weight): 0.0,
        id(model[2].bias): 0.0,
        id(model[3].bias): 0.0,
    }
    for group in optimizer.param_groups:
        assert group["betas"] == (0.7, 0.8)
        assert group["fused"]


def reference_run(config):
    """The same training, written by hand and without any of our loop."""
    model, (train_ids, _) = tiny(dropout=0.0), texts()
    moments = {p: [torch.zeros_like(p)] * 2 for p in model.parameters()}
    low, high = config.betas
    for step in range(config.steps):
        inputs, targets = data.batch(
            train_ids, batch_size=6, block=5, seed=config.seed, step=step
        )
        value = nn.functional.cross_entropy(
            model(inputs).transpose(1, 2), targets
        )
        grads = torch.autograd.grad(value, list(model.parameters()))
        norm = torch.cat([g.flatten() for g in grads]).norm()
        rate = learning_rate(step, config)
        for p, g in zip(model.parameters(), grads, strict=True):
            g = g * min(1.0, config.clip / norm.item()) if config.clip else g
            m, v = moments[p]
            m, v = low * m + (1 - low) * g, high * v + (1 - high) * g * g
            moments[p] = [m, v]
            m_hat = m / (1 - low ** (step + 1))
            v_hat = v / (1 - high ** (step + 1))
            decay = config.weight_decay if p.ndim > 1 else 0
            change = m_hat / (v_hat.sqrt() + 1e-8) + decay * p.data
            p.data -= rate * change
    return model


@pytest.mark.parametrize("clip", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_training_equals_adamw_written_by_hand(clip, accumulate):
    config = replace(CONFIG, clip=clip, accumulate=accumulate)
    model, _ = go(model=tiny(dropout=0.0), config=config)
    for ours, theirs in zip(
        model.parameters(), reference_run(config).parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-5)


def test_pieces_of_a_batch_tell_the_loss_of_the_whole():
    whole, pieces = (
        go(model=tiny(dropout=0.0), config=replace(CONFIG, accumulate=count))
        for count in (1, 3)
    )
    for row, other in zip(whole[1], pieces[1], strict=True):
        assert row.loss == pytest.approx(other.loss, rel=1e-3)


def test_a_model_that_was_used_before_is_put_into_training_mode():
    assert same(go(model=tiny().eval()), go())


def test_bfloat16_keeps_float32_weights_and_lands_close_by():
    plain, exact = go(model=tiny(dropout=0.0))
    config = replace(CONFIG, dtype="bfloat16")
    model, history = go(model=tiny(dropout=0.0), config=config)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert history.final_loss != exact.final_loss
    assert history.final_loss == pytest.approx(exact.final_loss, rel=0.02)


def test_compile_hands_the_model_to_torch_compile(monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "compile", lambda m: seen.append(m) or m)
    model = tiny()
    compiled = go(model=model, config=replace(CONFIG, compile=True))
    assert seen == [model]
    assert same(compiled, go())
    assert seen == [model]


def test_frozen_weights_stay_and_the_model_stays_in_its_mode():
    model = tiny()
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    go(model=model)
    assert torch.equal(model[0].weight, before)
    assert model.training


# Evaluation


def test_the_whole_split_predicts_every_token_once():
    model, ids = tiny(), texts()[1][:53]
    model.eval()
    every = nn.functional.cross_entropy(model(ids[:-1]), ids[1:])
    model.train()
    for block, batch_size in ((5, 6), (13, 2), (4, 13), (52, 1), (51, 7)):
        config = replace(CONFIG, block=block, batch_size=batch_size)
        # This model sees one token only, so blocks change nothing.
        assert evaluate_all(model, ids, config) == pytest.approx(every.item())
    assert model.training


def test_evaluation_is_the_same_every_time_and_leaves_no_trace():
    model, (_, ids) = tiny(), texts()
    before = torch.get_rng_state()
    assert evaluate(model, ids, CONFIG) == evaluate(model, ids, CONFIG)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None for p in model.parameters())


def test_evaluation_draws_other_blocks_than_training():
    ids = torch.arange(10**6)
    seen = []

    class Spy(nn.Module):
        def forward(self, inputs):
            seen.append(tuple(inputs[:, 0].tolist()))
            return torch.zeros(*inputs.shape, 10**6)

    config = replace(CONFIG, batch_size=2, block=1, eval_batches=3)
    evaluate(Spy(), ids, config)
    trained = [
        tuple(loop.batch(ids, config, step)[0][:, 0].tolist())
        for step in range(50)
    ]
    assert len(set(seen)) == 3
    assert not set(seen) & set(trained)


def test_the_final_loss_is_that_of_the_whole_validation_text():
    model, history = go()
    exact = evaluate_all(model, texts()[1], CONFIG)
    assert history.final_loss == exact


def test_speed_counts_training_only(monkeypatch, tmp_path):
    clock = [0.0]

    def slow(work, seconds):
        def wrapped(*arguments):
            clock[0] += seconds
            return work(*arguments)

        return wrapped

    monkeypatch.setattr(runs.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(loop, "update", slow(loop.update, 2.0))
    monkeypatch.setattr(loop, "evaluate", slow(loop.evaluate, 50.0))
    _, history = go(tmp_path)
    shutil.rmtree(checkpoint.path(tmp_path, 9))
    _, resumed = go(tmp_path, resume=True)
    speeds = [row.tokens_per_second for row in [*history, *resumed]]
    assert speeds == pytest.approx([6 * 5 / 2.0] * 6)


def test_a_row_holds_the_mean_loss_since_the_one_before(monkeypatch):
    losses, update = [], loop.update
    monkeypatch.setattr(
        loop, "update", lambda *a: losses.append(update(*a)) or losses[-1]
    )
    _, history = go(config=replace(CONFIG, steps=8))
    assert [row.step for row in history] == [3, 6, 8]
    parts = [losses[:3], losses[3:6], losses[6:]]
    for row, part in zip(history, parts, strict=True):
        assert row.loss == pytest.approx(sum(part).item() / len(part))
        assert row.learning_rate == learning_rate(
            row.step - 1, replace(CONFIG, steps=8)
        )
        assert row.tokens_per_second > 0
    assert history.final_loss == pytest.approx(
        history[-1].validation_loss, rel=0.2
    )


# Mistakes


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"block": 0},
        {"learning_rate": -1.0},
        {"learning_rate": math.nan},
        {"warmup": -1},
        {"clip": -0.5},
        {"seed": -1},
        {"steps": 2.0},
        {"seed": 0.5},
        {"weight_decay": -0.1},
        {"weight_decay": "much"},
        {"learning_rate": math.inf, "min_learning_rate": 0.0},
        {"weight_decay": math.inf},
        {"steps": True},
        {"min_learning_rate": -1e-9},
        {"min_learning_rate": 0.02},
        {"betas": (0.9,)},
        {"betas": (0.9, 1.0)},
        {"betas": (-0.1, 0.9)},
        {"schedule": "step"},
        {"dtype": "float16"},
        {"accumulate": 4},
    ],
    ids=str,
)
def test_an_impossible_configuration_is_named(wrong):
    name, value = next(iter(wrong.items()))
    said = re.escape(f"{name}: got {value!r}, expected")
    with pytest.raises(ValueError, match=f"^{said}"):
        replace(CONFIG, **wrong)


def test_integers_are_welcome_where_numbers_are():
    whole = replace(
        CONFIG,
        learning_rate=1,
        min_learning_rate=0,
        weight_decay=0,
        clip=1,
        betas=(0, 0),
        steps=2,
    )
    decimal = replace(
        whole,
        learning_rate=1.0,
        min_learning_rate=0.0,
        weight_decay=0.0,
        clip=1.0,
        betas=(0.0, 0.0),
    )
    assert same(go(config=whole), go(config=decimal))


@pytest.mark.parametrize("short", [0, 1])
def test_a_text_shorter_than_a_block_is_refused_before_anything(
    tmp_path, short
):
    parts = list(texts())
    parts[short] = parts[short][:5]
    with pytest.raises(ValueError, match="ids: got 5 tokens, expected at"):
        train(tiny(), *parts, CONFIG, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_without_bounds_ends_the_run(monkeypatch):
    monkeypatch.setattr(loop, "update", lambda *a: torch.tensor(math.inf))
    with pytest.raises(RuntimeError, match="loss: got inf by step 3"):
        go()


def test_a_loss_that_is_no_number_ends_the_run_and_saves_nothing(tmp_path):
    config = replace(CONFIG, learning_rate=1e30, clip=0.0, warmup=0)
    with pytest.raises(RuntimeError, match="loss: got nan by step [369]"):
        go(tmp_path, config=config)
    model = tiny(seed=1)
    checkpoint.load(tmp_path, model)
    assert all(p.isfinite().all() for p in model.parameters())


# Token numbers of any kind


@pytest.mark.parametrize(
    "kind",
    [
        lambda ids: ids.int(),
        lambda ids: ids.to(torch.uint16),
        lambda ids: ids.numpy().astype(np.uint16),
        lambda ids: ids.tolist(),
    ],
)
def test_texts_of_any_whole_type_train_the_same(tmp_path, kind):
    whole = go(tmp_path)
    parts, model = list(map(kind, texts())), tiny()
    history = train(model, *parts, CONFIG, progress=False)
    assert same((model, history), whole)
    assert evaluate_all(model, parts[1], CONFIG) == history.final_loss
    assert evaluate(model, parts[1], CONFIG) == history[-1].validation_loss
    again = tiny(seed=1)  # and it is the same run
    train(again, *parts, CONFIG, out=tmp_path, resume=True, progress=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda ids: ids.float(), "got torch.float32, expected whole numbers"),
        (lambda ids: ids.numpy() / 1, "got float64, expected whole numbers"),
        (lambda ids: ids[None], r"got shape \(1, \d+\), expected one row"),
        (lambda ids: ids - 100, r"got -\d+ at position 0, expected 0 or more"),
    ],
)
@pytest.mark.parametrize("which", ["train_ids", "validation_ids"])
def test_texts_that_are_no_token_numbers_are_refused_by_name(
    tmp_path, which, change, said
):
    parts = dict(zip(("train_ids", "validation_ids"), texts(), strict=True))
    parts[which] = change(parts[which])
    with pytest.raises(ValueError, match=f"^{which}: {said}"):
        train(tiny(), **parts, config=CONFIG, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_targets_of_any_whole_type_cost_the_same():
    model, ids = tiny().eval(), torch.randint(VOCAB, (3, 5))
    wanted = loss(model, ids, ids)
    for kind in (torch.int32, torch.int16, torch.int8):
        assert torch.equal(loss(model, ids, ids.to(kind)), wanted)


def test_a_mean_over_batches_counts_targets_and_not_places():
    model = tiny().eval()
    ids = torch.randint(VOCAB, (3, 4, 5))
    labels = torch.full_like(ids, -100)
    labels[0], labels[1, 0, :2] = ids[0], 3  # in the third batch none
    batches = list(zip(ids, labels, strict=True))
    found = loop.mean_loss(model, batches, CONFIG)
    whole = loss(model, ids.flatten(0, 1), labels.flatten(0, 1))
    assert found == pytest.approx(whole.item(), rel=1e-6)


def test_a_model_in_float64_reports_its_loss_in_float64():
    inputs, targets = loop.batch(texts()[0], CONFIG, 0)
    first = loss(tiny(dropout=0.0).double(), inputs, targets)
    config = replace(CONFIG, steps=1)
    model, history = go(model=tiny(dropout=0.0).double(), config=config)
    assert history[0].loss == first.item()
    assert model[3].weight.dtype == torch.float64


def test_numbers_of_numpy_are_welcome_in_a_run_that_is_kept(tmp_path):
    config = replace(
        CONFIG,
        steps=np.int64(9),
        seed=np.uint32(0),
        learning_rate=np.float64(0.01),
        betas=np.array([0.9, 0.95]),
    )
    whole = go(tmp_path, config=config, about={"size": np.int32(3)})
    assert same(whole, go())
    assert checkpoint.read(tmp_path)["about"] == {"size": 3}
    assert same(go(tmp_path, model=tiny(seed=1), resume=True), whole)


def test_what_a_caller_says_must_fit_into_json(tmp_path):
    with pytest.raises(ValueError, match="^about: got what JSON cannot hold"):
        go(tmp_path / "run", about={"x": tiny()})
    assert not (tmp_path / "run").exists()
