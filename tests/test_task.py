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
from llmnotes.task import Task, cut, weighed
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


def test_a_state_of_the_optimizer_without_bounds_ends_the_run(tmp_path):
    """A gradient of 1e25 has an infinite square: the weight never moves."""

    class Steep(Tiny):
        def loss(self, model, batch):
            return super().loss(model, batch) * 1e30

        def evaluate(self, model):
            return 1.0

    config = replace(CONFIG, clip=0.0)
    for out in (None, tmp_path):
        with pytest.raises(RuntimeError, match="^exp_avg_sq of 0.weight: got"):
            fit(tiny(), Steep(), config, out=out, progress=False)
    assert checkpoint.steps(tmp_path) == [0]


def test_a_weight_without_bounds_ends_a_run_that_is_not_saved_too(monkeypatch):
    """No judgement sees it: the row of a token that the text lacks."""

    def broken(model, *arguments):
        with torch.no_grad():
            model[0].weight[10] = math.inf
        return torch.tensor(1.0)

    monkeypatch.setattr(loop, "update", broken)
    texts = data.split(torch.arange(400) % 10)
    with pytest.raises(RuntimeError, match="^0.weight: got nan or infinity b"):
        loop.train(tiny(), *texts, CONFIG, progress=False)


def test_a_mask_of_minus_infinity_is_no_fault(tmp_path):
    model = tiny()
    model.register_buffer("mask", torch.full((3, 3), -math.inf))
    fit(model, Tiny(), CONFIG, out=tmp_path, progress=False)
    assert checkpoint.steps(tmp_path)[-1] == 9


def test_a_buffer_that_leaves_its_bounds_ends_the_run(tmp_path):
    model = tiny()
    model.register_buffer("mean", torch.zeros(3))

    class Drift(Tiny):
        def loss(self, model, batch):
            model.mean += math.inf
            return super().loss(model, batch)

    with pytest.raises(RuntimeError, match="^mean: got nan or infinity by st"):
        fit(model, Drift(), CONFIG, out=tmp_path, progress=False)
    assert checkpoint.steps(tmp_path) == [0]


def test_ctrl_c_does_not_save_losses_that_are_no_numbers(
    tmp_path, monkeypatch
):
    """Every attempt to go on would end at the next row."""

    def broken(*arguments):
        signal.raise_signal(signal.SIGINT)
        return torch.tensor(math.nan)

    monkeypatch.setattr(loop, "update", broken)
    with pytest.raises(RuntimeError, match="^loss: got nan by step 1"):
        fit(tiny(), Tiny(), CONFIG, out=tmp_path, progress=False)
    assert checkpoint.steps(tmp_path) == [0]


def test_a_final_loss_that_is_no_number_is_not_saved(tmp_path, monkeypatch):
    texts = data.split(torch.arange(400) % 11)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate_all", lambda *_: math.nan)
        with pytest.raises(RuntimeError, match="^final loss: got nan by st"):
            loop.train(tiny(), *texts, CONFIG, out=tmp_path, progress=False)
    assert checkpoint.steps(tmp_path) == [3, 6]
    history = loop.train(
        tiny(1), *texts, CONFIG, out=tmp_path, resume=True, progress=False
    )
    assert history[-1].step == 9 and math.isfinite(history.final_loss)


# What a task hands over


@pytest.mark.parametrize("got", [torch.tensor(0.5), 0.5])
def test_a_judgement_may_be_any_number(tmp_path, got):
    history = fit(tiny(), Broken(got), CONFIG, out=tmp_path, progress=False)
    assert {type(row.validation_loss) for row in history} == {float}
    assert history.final_loss == 0.5


def test_a_judgement_that_is_no_number_at_all_is_refused():
    for got in (None, "good", torch.ones(2)):
        with pytest.raises(
            ValueError, match="^validation loss: got .*one num"
        ):
            fit(tiny(), Broken(got), CONFIG, progress=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x.expand(2), r"loss: got shape torch.Size\(\[2\]\), exp"),
        (lambda x: x.item(), "loss: got float, expected a tensor"),
        (lambda x: x.detach(), "loss: got a number without a gradient"),
    ],
)
def test_a_loss_that_cannot_be_followed_back_is_refused(change, said):
    class Odd(Tiny):
        def loss(self, model, batch):
            return change(super().loss(model, batch))

    with pytest.raises(ValueError, match=f"^{said}"):
        fit(tiny(), Odd(), CONFIG, progress=False)


def test_a_loss_of_one_number_in_a_row_will_do():
    class Row(Tiny):
        def loss(self, model, batch):
            return super().loss(model, batch)[None]

    assert same(
        (model := tiny(), fit(model, Row(), CONFIG, progress=False)),
        (other := tiny(), fit(other, Tiny(), CONFIG, progress=False)),
    )


def test_a_model_with_nothing_to_train_is_refused():
    for model in (nn.ReLU(), tiny().requires_grad_(False)):
        with pytest.raises(ValueError, match="^model: got .* without param"):
            fit(model, Tiny(), CONFIG, progress=False)


# Pieces with other numbers of targets


class Labelled(Tiny):
    """Six rows; of their labels few count, in the second third none."""

    def batch(self, step):
        random = torch.Generator().manual_seed(step)
        ids = torch.randint(11, (6, 5), generator=random)
        labels = torch.full_like(ids, -100)
        labels[0], labels[5, :2] = ids[0], ids[5, :2]
        return ids, labels


@pytest.mark.parametrize("pieces", [2, 3, 6])
def test_pieces_with_few_targets_do_not_count_more(pieces):
    """The bug of 2024 in gradient accumulation; a piece of none was 0/0."""

    def go(accumulate):
        model = tiny(dropout=0.0)
        config = replace(CONFIG, accumulate=accumulate)
        optimizer = torch.optim.SGD(model.parameters())
        history = fit(
            model, Labelled(), config, optimizer=optimizer, progress=False
        )
        return history, list(model.parameters())

    (whole, weights), (cut_up, others) = go(1), go(pieces)
    for row, other in zip(whole, cut_up, strict=True):
        assert row.loss == pytest.approx(other.loss, rel=1e-5)
    for p, q in zip(weights, others, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_a_task_may_count_its_targets_itself():
    class Padded(Labelled):
        """0 is no target; all is told in the order of the rows."""

        def batch(self, step):
            ids, labels = super().batch(step)
            return ids, labels.clamp(min=0)

        def loss(self, model, batch):
            ids, labels = batch
            return F.cross_entropy(
                model(ids).flatten(0, 1), labels.flatten(), ignore_index=0
            )

        def targets(self, batch):
            return int((batch[1] != 0).sum())

    grads = []
    for pieces in (1, 3):
        model, task = tiny(dropout=0.0), Padded()
        for piece, divisor in weighed(task, task.batch(0), pieces):
            (task.loss(model, piece) / divisor).backward()
        grads.append([p.grad for p in model.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_a_batch_without_a_target_is_refused_where_it_is_cut():
    batch = torch.zeros(4, 3).long(), torch.full((4, 3), -100)
    with pytest.raises(ValueError, match="^batch: got no target, expected"):
        weighed(Tiny(), batch, 2)


def test_real_numbers_count_by_rows():
    batch = torch.zeros(6, 3), torch.full((6, 3), -100.0)
    assert [d for _, d in weighed(Tiny(), batch, 3)] == [3.0] * 3
