"""What the training loop claims, proved; crashes are real kills."""

import math
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

from llmnotes import checkpoint, data, progress
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

VOCAB = 11
CONFIG = TrainConfig(
    steps=9,
    batch_size=6,
    block=5,
    learning_rate=0.01,
    warmup=3,
    min_learning_rate=0.001,
    eval_every=3,
    eval_batches=2,
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def texts(length=400):
    ids = torch.arange(length) ** 2 % 7 + torch.arange(length) % 3
    return data.split(ids, 0.8)


def tiny(dropout=0.2, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Embedding(VOCAB, 8),
        nn.Dropout(dropout),
        nn.LayerNorm(8),
        nn.Linear(8, VOCAB),
    )


def go(out=None, config=CONFIG, model=None, **options):
    model = tiny() if model is None else model
    history = train(
        model, *texts(), config, out=out, progress=False, **options
    )
    return model, history


def told(history):
    """All of a history that does not depend on the clock."""
    rows = [
        (r.step, r.loss, r.validation_loss, r.learning_rate) for r in history
    ]
    return rows, history.final_loss


def same(left, right):
    (model, history), (other, others) = left, right
    weights = zip(model.parameters(), other.parameters(), strict=True)
    return told(history) == told(others) and all(
        torch.equal(a, b) for a, b in weights
    )


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
        {"schedule": "step"},
        {"dtype": "float16"},
        {"accumulate": 4},
    ],
    ids=str,
)
def test_an_impossible_configuration_is_named(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"^{name}: got {value!r}, expected"):
        replace(CONFIG, **wrong)


@pytest.mark.parametrize("short", [0, 1])
def test_a_text_shorter_than_a_block_is_refused_before_anything(
    tmp_path, short
):
    parts = list(texts())
    parts[short] = parts[short][:5]
    with pytest.raises(ValueError, match="ids: got 5 tokens, expected at"):
        train(tiny(), *parts, CONFIG, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_ends_the_run_and_saves_nothing(tmp_path):
    config = replace(CONFIG, learning_rate=1e30, clip=0.0, warmup=0)
    with pytest.raises(RuntimeError, match="loss: got nan by step [369]"):
        go(tmp_path, config=config)
    model = tiny(seed=1)
    checkpoint.load(tmp_path, model)
    assert all(p.isfinite().all() for p in model.parameters())


def test_a_run_is_not_overwritten(tmp_path):
    go(tmp_path)
    with pytest.raises(ValueError, match="holds a run at step 9"):
        go(tmp_path)
    assert checkpoint.steps(tmp_path) == [6, 9]


@pytest.mark.parametrize(
    "change", [{"learning_rate": 0.02}, {"steps": 10}, {"seed": 1}], ids=str
)
def test_a_run_goes_on_only_as_it_began(tmp_path, change):
    go(tmp_path)
    model = tiny(seed=1)
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=f"^{next(iter(change))}: got"):
        go(
            tmp_path,
            model=model,
            config=replace(CONFIG, **change),
            resume=True,
        )
    assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize("changed", [0, 1])
def test_a_run_goes_on_only_with_its_own_text(tmp_path, changed):
    go(tmp_path)
    parts = [part.clone() for part in texts()]
    parts[changed][-1] += 1
    with pytest.raises(ValueError, match="^text: got"):
        train(tiny(), *parts, CONFIG, out=tmp_path, resume=True)


def test_another_number_of_threads_is_warned_about(tmp_path):
    go(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        go(tmp_path, resume=True)
    torch.set_num_threads(2)
    try:
        with pytest.warns(UserWarning, match="from 1 threads, this is 2"):
            go(tmp_path, resume=True)
    finally:
        torch.set_num_threads(1)


def test_a_full_disk_ends_the_run_and_keeps_the_last_checkpoint(
    tmp_path, monkeypatch
):
    whole = go()
    fsync = os.fsync

    def full(handle):
        if (tmp_path / checkpoint.PART / "state.json").exists() and (
            checkpoint.steps(tmp_path)[-1:] == [3]
        ):
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RuntimeError, match="step 6 .*No space.*kept: 0, 3$"):
        go(tmp_path)
    monkeypatch.undo()
    assert same(go(tmp_path, model=tiny(seed=1), resume=True), whole)


# Stopping and going on


def test_saving_changes_nothing(tmp_path):
    assert same(go(tmp_path), go())


def test_resuming_a_finished_run_tells_the_same(tmp_path):
    whole = go(tmp_path)
    assert same(go(tmp_path, model=tiny(seed=1), resume=True), whole)


@pytest.mark.parametrize("at", [1, 4, 6, 9])
def test_ctrl_c_saves_and_resuming_goes_on_to_the_same_bit(
    tmp_path, monkeypatch, at
):
    whole, update, handler = go(), loop.update, signal.getsignal(signal.SIGINT)

    def interrupted(*arguments):
        if arguments[-1] + 1 == at:  # in the middle of a step
            signal.raise_signal(signal.SIGINT)
        return update(*arguments)

    monkeypatch.setattr(loop, "update", interrupted)
    with pytest.raises(KeyboardInterrupt) as stop:
        go(tmp_path)
    assert f"stopped after step {at}, saved in {tmp_path}" in str(stop.value)
    assert "resume=True" in str(stop.value)
    assert signal.getsignal(signal.SIGINT) is handler
    assert checkpoint.steps(tmp_path)[-1] == at
    monkeypatch.undo()
    assert same(go(tmp_path, model=tiny(seed=1), resume=True), whole)


def test_a_second_ctrl_c_does_not_wait(tmp_path, monkeypatch):
    def stuck(*arguments):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("went on")

    monkeypatch.setattr(loop, "update", stuck)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path)
    assert checkpoint.steps(tmp_path) == [0]


def test_training_works_in_a_thread(tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(go(tmp_path)))
    thread.start()
    thread.join()
    assert same(results[0], go())


LONG = replace(CONFIG, steps=120, eval_every=5)


def child(out, aim, ready):
    """Train in a process of its own, to be killed."""
    torch.set_num_threads(1)
    if aim is not None:
        AIMS[aim]()
    ready.set()
    go(
        out,
        model=tiny(seed=os.getpid()) if resumes(out) else tiny(),
        config=LONG,
        resume=True,
    )


def resumes(out):
    return bool(checkpoint.steps(out))


def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)


def before_the_first_checkpoint():
    checkpoint.save = die


def halfway_through_a_file():
    save_file = checkpoint.save_file

    def half(tensors, path, *rest):
        save_file(tensors, path, *rest)
        if "000010" not in str(path) and runs_at(path) >= 10:
            os.truncate(path, os.path.getsize(path) // 2)
            die()

    checkpoint.save_file = half


def runs_at(path):
    return max(
        checkpoint.steps(os.path.dirname(os.path.dirname(path))), default=0
    )


def between_the_files_and_the_name():
    rename = os.rename

    def late(source, target):
        if str(target).endswith("step-000015"):
            die()
        rename(source, target)

    os.rename = late


def just_after_an_evaluation():
    note = runs.Run.note

    def late(run, *arguments):
        note(run, *arguments)
        if run.step == 15:
            die()

    runs.Run.note = late


def halfway_through_clearing_up():
    rmtree = shutil.rmtree

    def half(folder, *rest, **options):
        if os.path.exists(os.path.join(folder, "state.json")):
            os.unlink(os.path.join(folder, "state.json"))
            die()
        rmtree(folder, *rest, **options)

    shutil.rmtree = half


AIMS = {
    f.__name__: f
    for f in (
        before_the_first_checkpoint,
        halfway_through_a_file,
        between_the_files_and_the_name,
        just_after_an_evaluation,
        halfway_through_clearing_up,
    )
}


@pytest.fixture(scope="module")
def processes():
    """Processes forked from one that has imported everything: quick."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch._dynamo", "llmnotes.train", "pytest", "hypothesis"]
    )
    return context


@pytest.fixture(scope="module")
def whole():
    return go(config=LONG)


def start(processes, out, aim=None):
    ready = processes.Event()
    process = processes.Process(target=child, args=(out, aim, ready))
    process.start()
    assert ready.wait(60)
    return process


@pytest.mark.parametrize("aim", AIMS)
def test_killed_at_an_aimed_point_the_run_goes_on_to_the_same_bit(
    tmp_path, processes, whole, aim
):
    process = start(processes, tmp_path, aim)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    held = checkpoint.steps(tmp_path)
    expected = {
        "before_the_first_checkpoint": [],
        "halfway_through_a_file": [5, 10],
        "between_the_files_and_the_name": [5, 10],
        "just_after_an_evaluation": [5, 10],
        "halfway_through_clearing_up": [5, 10],
    }
    assert held == expected[aim]
    model = tiny(seed=1) if held else tiny()
    assert same(go(tmp_path, LONG, model, resume=True), whole)


def test_killed_at_20_random_points_the_run_goes_on_to_the_same_bit(
    tmp_path, processes, whole
):
    draw = random.Random(0)
    clock = time.perf_counter()
    start(processes, tmp_path / "timed").join(60)
    full = time.perf_counter() - clock
    run, kills, held = tmp_path / "0", 0, set()
    while kills < 20:
        process = start(processes, run)
        process.join(draw.uniform(0, full / 3))
        process.kill()
        process.join(60)
        kills += process.exitcode == -signal.SIGKILL
        held.add(max(checkpoint.steps(run), default=-1))
        if process.exitcode == 0:
            assert same(go(run, LONG, tiny(seed=1), resume=True), whole)
            run = tmp_path / str(kills)
    model = tiny(seed=1) if resumes(run) else tiny()
    assert same(go(run, LONG, model, resume=True), whole)
    assert len(held) > 5


# What a run looks like


def test_a_falling_curve_falls_from_the_highest_bar_to_the_lowest():
    assert progress.sparkline([8.0, 7.0, 5.0, 1.0]) == "█▇▅▁"
    assert progress.sparkline([2.0]) == "▁"
    long = progress.sparkline([float(x) for x in range(1000)])
    assert len(long) == 32
    assert (long[0], long[-1]) == ("▁", "█")


def test_progress_tells_each_evaluation_in_a_line_on_stderr(capsys):
    history = train(tiny(), *texts(), CONFIG)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("step      3  loss ")
    assert f"validation {history[-1].validation_loss:.3f}" in lines[-1]
    go()
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_a_bar_shows_loss_speed_and_time_left(
    capsys, monkeypatch
):
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress.tqdm, "monitor_interval", 0)
    slow = loop.update

    def slower(*arguments):
        time.sleep(0.11)
        return slow(*arguments)

    monkeypatch.setattr(loop, "update", slower)
    train(tiny(), *texts(), CONFIG)
    err = capsys.readouterr().err
    assert "tokens/s, loss " in err
    assert "270/270" in err
    assert "<00:0" in err


def test_the_run_folder_gets_a_picture_of_the_curve(tmp_path):
    import xml.etree.ElementTree as tree

    _, history = go(tmp_path)
    root = tree.parse(tmp_path / "curve.svg").getroot()
    name = "{http://www.w3.org/2000/svg}"
    curves = {
        line.get("class"): [
            tuple(map(float, point.split(",")))
            for point in line.get("points").split()
        ]
        for line in root.iter(f"{name}polyline")
    }
    losses = {
        "training": [row.loss for row in history],
        "validation": [row.validation_loss for row in history],
    }
    assert curves.keys() == losses.keys()
    heights = [down for points in curves.values() for _, down in points]
    values = [value for some in losses.values() for value in some]
    assert heights[values.index(min(values))] == max(heights)
    assert heights[values.index(max(values))] == min(heights)
    words = " ".join(text.text for text in root.iter(f"{name}text"))
    assert f"{min(values):.2f}" in words and f"{max(values):.2f}" in words
