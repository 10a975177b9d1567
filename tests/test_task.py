"""One loop for every task: none of what it promises is only for text."""

import math
import signal
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llmnotes import checkpoint, data
from llmnotes import train as loop
from llmnotes.sequence.lstm.task import TASKS, Answerer, Recall
from llmnotes.sequence.rnn import RNN
from llmnotes.sequence.seq2seq.pairs import reversal
from llmnotes.task import Task, cut
from llmnotes.train import fit
from tests.tiny_run import CONFIG, same, tiny


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Digits(Task):
    """Read digits; the last 100 are for judging, by the share misread."""

    def __init__(self, size=12):
        images, labels = data.images("digits")
        self.images, self.labels = map(torch.from_numpy, (images, labels))
        self.count = size

    def batch(self, step):
        random = torch.Generator().manual_seed(step)
        some = torch.randint(1697, (self.count,), generator=random)
        return self.images[some], self.labels[some]

    def loss(self, model, batch):
        images, labels = batch
        return F.cross_entropy(model(images), labels)

    def evaluate(self, model):
        said = model(self.images[-100:]).argmax(-1)
        return (said != self.labels[-100:]).double().mean().item()


def reader(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Dropout(0.1),
        nn.Linear(24, 10),
    )  # fmt: skip


def rememberer(seed=0):
    torch.manual_seed(seed)
    return Answerer(RNN, TASKS["copy"], 9)


class Tiny(Task):
    """Predict the next of eight numbers."""

    def batch(self, step):
        ids = torch.arange(step, step + 8) % 11
        return ids[None, :-1], ids[None, 1:]

    def loss(self, model, batch):
        return loop.loss(model, *batch)

    def evaluate(self, model):
        return self.loss(model, self.batch(5)).item()


def recall():
    return Recall(TASKS["copy"], lag=2, batch=4, seed=0)


KINDS = {"digits": (Digits, reader), "memory": (recall, rememberer)}


def sgd(model):
    return torch.optim.SGD(model.parameters(), momentum=0.9)


@pytest.mark.parametrize("optimizer", [lambda model: None, sgd])
@pytest.mark.parametrize("kind", KINDS)
def test_tasks_that_are_not_text_resume_to_the_same_bit(
    tmp_path, monkeypatch, kind, optimizer
):
    task, build = KINDS[kind]

    def go(model, out, **options):
        history = fit(
            model, task(), CONFIG,
            optimizer=optimizer(model), out=out, progress=False, **options,
        )  # fmt: skip
        return model, history

    whole, update = go(build(), None), loop.update

    def interrupted(*arguments):
        if arguments[-1] == 4:
            signal.raise_signal(signal.SIGINT)
        return update(*arguments)

    monkeypatch.setattr(loop, "update", interrupted)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 5"):
        go(build(), tmp_path)
    monkeypatch.undo()
    assert same(go(build(seed=1), tmp_path, resume=True), whole)


def test_a_task_that_is_not_text_is_learned():
    config = replace(
        CONFIG, steps=150, learning_rate=1e-2, warmup=10, eval_every=50
    )
    history = fit(reader(), Digits(32), config, progress=False)
    losses = [row.validation_loss for row in history]
    assert losses[0] > losses[-1] == history.final_loss < 0.2


def test_a_batch_of_the_memory_tasks_is_a_function_of_its_step():
    in_order, task = recall(), recall()
    wanted = [in_order.batch(step) for step in range(4)]
    for step in (2, 0, 3, 3, 1):
        for got, want in zip(task.batch(step), wanted[step], strict=True):
            assert torch.equal(got, want)


def test_a_run_of_one_task_is_not_gone_on_with_another(tmp_path):
    fit(tiny(), Tiny(), CONFIG, out=tmp_path, progress=False)
    texts = data.split(torch.arange(400) % 11)
    text = loop.LanguageModelling(*texts, CONFIG)
    with pytest.raises(ValueError, match="^task: got None, expected Tiny"):
        fit(tiny(), text, CONFIG, out=tmp_path, resume=True)
    other = type("Other", (Tiny,), {})()
    with pytest.raises(ValueError, match="^task: got Other, expected Tiny"):
        fit(tiny(), other, CONFIG, out=tmp_path, resume=True)


def test_a_run_that_is_good_enough_ends_early_and_stays_ended(tmp_path):
    def go(out, enough=-math.inf, **options):
        model = tiny()
        history = fit(
            model, Tiny(), CONFIG,
            out=out, enough=enough, progress=False, **options,
        )  # fmt: skip
        return [row.step for row in history], history

    steps, whole = go(None)
    assert steps == [3, 6, 9]
    enough = whole[1].validation_loss
    assert whole[0].validation_loss > enough
    assert go(tmp_path, enough)[0] == [3, 6]
    assert go(tmp_path, enough, resume=True)[0] == [3, 6]
    assert go(tmp_path, resume=True)[0] == [3, 6, 9]


def test_a_schedule_of_its_own_is_a_config_with_another_rate():
    class Constant(loop.TrainConfig):
        def rate(self, step):
            return 0.25

    config = Constant(**vars(CONFIG))
    model = tiny()
    optimizer = torch.optim.SGD(model.parameters())
    history = fit(model, Tiny(), config, optimizer=optimizer, progress=False)
    assert {row.learning_rate for row in history} == {0.25}
    assert {group["lr"] for group in optimizer.param_groups} == {0.25}


def test_the_task_judges_a_model_in_evaluation_mode_and_without_gradients():
    seen = []

    class Spy(Tiny):
        def evaluate(self, model):
            grads = torch.is_grad_enabled()
            seen.extend([grads, *(m.training for m in model.modules())])
            return 1.0

    model = tiny()
    fit(model, Spy(), CONFIG, progress=False)
    assert seen and not any(seen)
    assert all(module.training for module in model.modules())


def test_the_bar_and_the_curve_count_and_name_what_the_task_does(tmp_path):
    class Sheep(Tiny):
        unit, size, measure = "sheep", 10**6, "loss in lambs"

    for task in (Sheep(), Tiny()):
        out = tmp_path / type(task).__name__
        history = fit(tiny(), task, CONFIG, out=out, progress=False)
        assert task.measure in (out / "curve.svg").read_text("utf-8")
        assert (history[0].tokens_per_second > 10**6) == (task.size > 1)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_pieces_of_a_batch_are_equal_and_make_the_whole(count):
    batch = torch.arange(12).view(6, 2), torch.arange(6)
    pieces = list(cut(batch, count))
    assert {len(labels) for _, labels in pieces} == {6 // count}
    for whole, parts in zip(batch, zip(*pieces, strict=True), strict=True):
        assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize(
    "batch", [(torch.arange(7),), torch.arange(6), reversal(3, 6, seed=0)]
)
def test_a_batch_that_cannot_be_cut_is_refused(batch):
    assert list(cut(batch, 1)) == [batch] or list(cut(batch, 1))[0] is batch
    with pytest.raises(ValueError, match="^accumulate: got 3, expected 1"):
        cut(batch, 3)


def test_an_optimizer_that_cannot_be_saved_is_refused_before_anything(
    tmp_path,
):
    class Bare:
        param_groups = []

    with pytest.raises(ValueError, match="^optimizer: got Bare, which has no"):
        fit(tiny(), Tiny(), CONFIG, optimizer=Bare(), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Numbers without bounds


class Broken(Tiny):
    """Is judged `got` in the end."""

    def __init__(self, got):
        self.got = got

    def evaluate(self, model):
        return self.got


@pytest.mark.parametrize("got", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("progress", [True, False])
def test_a_judgement_that_is_no_number_ends_the_run_and_saves_nothing(
    tmp_path, got, progress
):
    with pytest.raises(RuntimeError, match=f"^validation loss: got {got} by"):
        fit(tiny(), Broken(got), CONFIG, out=tmp_path, progress=progress)
    assert checkpoint.steps(tmp_path) == [0]


@pytest.mark.parametrize("warmup", [0, 1])
@pytest.mark.parametrize("progress", [True, False])
def test_a_first_step_that_breaks_the_model_ends_the_run(
    tmp_path, warmup, progress
):
    config = replace(
        CONFIG, steps=1, warmup=warmup, eval_every=1, learning_rate=1e30
    )
    texts = data.split(torch.arange(400) % 11)
    with pytest.raises(RuntimeError, match="^validation loss: got nan by st"):
        loop.train(tiny(), *texts, config, out=tmp_path, progress=progress)
    assert checkpoint.steps(tmp_path) == [0]


def test_ctrl_c_does_not_save_weights_that_are_no_numbers(
    tmp_path, monkeypatch
):
    def broken(model, *arguments):
        with torch.no_grad():
            model[3].bias[2] = math.nan
        signal.raise_signal(signal.SIGINT)
        return torch.tensor(1.0)

    monkeypatch.setattr(loop, "update", broken)
    with pytest.raises(RuntimeError, match="^3.bias: got nan or infinity by"):
        fit(tiny(), Tiny(), CONFIG, out=tmp_path, progress=False)
    assert checkpoint.steps(tmp_path) == [0]


def test_a_final_loss_that_is_no_number_is_told(monkeypatch):
    texts = data.split(torch.arange(400) % 11)
    monkeypatch.setattr(loop, "evaluate_all", lambda *_: math.nan)
    with pytest.raises(RuntimeError, match="^final loss: got nan by step 9"):
        loop.train(tiny(), *texts, CONFIG, progress=False)
