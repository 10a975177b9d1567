"""What the Transformer chapter claims of training and writing, proved."""

import math

import pytest
import torch
import torch.nn.functional as F

from llmnotes.sequence.seq2seq.decoding import exact_match, greedy
from llmnotes.sequence.seq2seq.pairs import END, PAD, START, reversal
from llmnotes.task import Task
from llmnotes.train import EVALUATION, fit
from llmnotes.train_config import TrainConfig
from llmnotes.transformer.transformer import Transformer, TransformerConfig
from llmnotes.transformer.transformer.training import (
    adam,
    noam,
    smoothed_cross_entropy,
)
from tests.transformer.transformer.test_model import (
    BOTH,
    SHAPE,
    SOURCE,
    TARGET,
    some_ids,
    tiny,
)

VOCAB, FILLER = 11, 3


def random_logits(*shape, seed=0):
    torch.manual_seed(seed)
    logits = torch.randn(*shape, VOCAB, dtype=torch.float64) * 3
    return logits.requires_grad_(), torch.randint(VOCAB, shape)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("ignore", [None, FILLER])
def test_smoothed_loss_and_gradient_equal_torchs(smoothing, ignore):
    logits, targets = random_logits(4, 7)
    targets[:, 5:] = FILLER
    ours = smoothed_cross_entropy(logits, targets, smoothing, ignore)
    theirs = F.cross_entropy(
        logits.flatten(0, 1),
        targets.flatten(),
        label_smoothing=smoothing,
        ignore_index=-100 if ignore is None else ignore,
    )
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits)
    )


def test_by_hand_chances_of_a_half_and_two_quarters_cost_1_2_ln_2():
    logits = torch.tensor([[math.log(2), 0, 0]], dtype=torch.float64)
    target = torch.tensor([0])
    # q = (0.8, 0.1, 0.1): 0.8 ln 2 + 0.2 ln 4 = 1.2 ln 2.
    loss = smoothed_cross_entropy(logits, target, smoothing=0.3)
    assert loss.item() == pytest.approx(1.2 * math.log(2))


def test_a_smoothed_loss_cannot_reach_zero():
    logits, targets = random_logits(50)
    smoothed = 0.9 * F.one_hot(targets, VOCAB) + 0.1 / VOCAB
    floor = torch.special.entr(smoothed).sum(-1).mean()
    best = smoothed_cross_entropy(smoothed.log(), targets)
    torch.testing.assert_close(best, floor)
    assert smoothed_cross_entropy(logits, targets) > floor
    sure = 50 * F.one_hot(targets, VOCAB).double()  # right, and too sure
    assert smoothed_cross_entropy(sure, targets) > floor


def test_leaving_the_target_out_of_the_sharing_is_another_epsilon():
    # The authors' code gives ε/(V-1) to each of the *other* tokens.
    logits, targets = random_logits(50)
    wrong_ones = 1 - F.one_hot(targets, VOCAB).double()
    q = 0.9 * F.one_hot(targets, VOCAB) + 0.1 / (VOCAB - 1) * wrong_ones
    theirs = F.cross_entropy(logits, q)
    ours = smoothed_cross_entropy(logits, targets, 0.1 * VOCAB / (VOCAB - 1))
    torch.testing.assert_close(theirs, ours)


def test_what_stands_in_ignored_places_does_not_matter():
    logits, targets = random_logits(4, 7)
    targets[:, 5:] = FILLER
    loss = smoothed_cross_entropy(logits, targets, ignore=FILLER)
    (grad,) = torch.autograd.grad(loss, logits)
    assert (grad[targets == FILLER] == 0).all()
    assert (grad[targets != FILLER] != 0).all()
    short = targets[:, :5]
    assert not (short == FILLER).all()
    torch.testing.assert_close(
        loss, smoothed_cross_entropy(logits[:, :5], short, ignore=FILLER)
    )


def test_the_schedule_by_hand():
    # 512^-½ · 4000^-½ = 1/√2,048,000
    assert noam(4000, 512) == pytest.approx(1 / math.sqrt(2_048_000))
    assert noam(4000, 512) == pytest.approx(6.99e-4, rel=1e-3)
    assert noam(16000, 512) == pytest.approx(noam(4000, 512) / 2)
    assert noam(1, 512) == pytest.approx(noam(4000, 512) / 4000)


@pytest.mark.parametrize(("d_model", "warmup"), [(512, 4000), (64, 37)])
def test_the_rate_rises_in_a_line_then_falls_with_the_root(d_model, warmup):
    rates = [noam(s, d_model, warmup) for s in range(1, 5 * warmup)]
    assert rates[0] > 0  # the first step is not wasted
    assert rates.index(max(rates)) + 1 == warmup
    for step in (2, warmup // 2, warmup):
        assert rates[step - 1] == pytest.approx(step * rates[0])
    for step in (warmup, 2 * warmup, 4 * warmup):
        assert rates[step - 1] == pytest.approx((step * d_model) ** -0.5)


def test_a_schedule_counted_from_zero_is_refused():
    with pytest.raises(ValueError, match="^step: got 0, expected at least 1"):
        noam(0, 512)
    with pytest.raises(ValueError, match="^warmup: got 0"):
        noam(1, 512, warmup=0)


def test_adam_has_the_papers_numbers():
    (group,) = adam(tiny()).param_groups
    assert group["betas"] == (0.9, 0.98) and group["eps"] == 1e-9
    assert group["weight_decay"] == 0


def test_losses_that_do_not_fit_are_named():
    logits, targets = random_logits(4, 7)
    with pytest.raises(ValueError, match=r"^smoothing: got 1.0"):
        smoothed_cross_entropy(logits, targets, 1.0)
    with pytest.raises(
        ValueError, match=r"^targets: got batch .4,., expected logits'"
    ):
        smoothed_cross_entropy(logits, targets[:, 0])


@BOTH
def test_training_sees_in_one_pass_what_writing_sees_in_many(cls):
    model, source, target = tiny(cls), some_ids(SOURCE), some_ids(TARGET, 2)
    lengths = torch.tensor([SOURCE, 4, 1])
    at_once = model(source, target, lengths)
    for t in range(TARGET):
        one_more = model(source, target[:, : t + 1], lengths)
        torch.testing.assert_close(one_more[:, -1], at_once[:, t])


@BOTH
def test_writing_appends_the_likeliest_token_and_stops_at_the_end(cls):
    ended = 0
    for seed in (2, 3):  # few words, so that END is among the likeliest
        model, source = tiny(cls, seed, vocab_size=5), some_ids(SOURCE) % 5
        lengths = torch.tensor([SOURCE, 4, 1])
        out = greedy(model, source, lengths, max_length=6)
        for row, length in enumerate(lengths):
            alone, ids = source[row : row + 1, :length], [START]
            while len(ids) < 7 and ids[-1] != END:
                logits = model(alone, torch.tensor([ids]))[0, -1]
                logits[[PAD, START]] = -torch.inf  # never written
                ids.append(logits.argmax().item())
            rest = [PAD] * (out.shape[1] - len(ids) + 1)
            assert out[row].tolist() == ids[1:] + rest
            ended += ids[-1] == END
    assert 0 < ended < 6  # some stop early, some run on


def test_the_source_is_read_once_and_the_target_token_by_token():
    model, source = tiny(), some_ids(SOURCE)
    with torch.no_grad():
        model.embedding.weight[END] = 0  # a middling token: never the best
    reads, lengths = [], []
    model.encoder.register_forward_hook(lambda *_: reads.append(1))
    model.decoder.register_forward_pre_hook(
        lambda _, inputs: lengths.append(inputs[0].shape[1])
    )
    assert greedy(model, source, max_length=6).shape == (3, 6)
    assert len(reads) == 1 and lengths == [1, 2, 3, 4, 5, 6]


def test_the_same_weights_read_any_length():
    model = tiny()
    for length in (1, 2, SOURCE, 100):
        source, target = some_ids(length), some_ids(length + 1, 2)
        assert model(source, target).shape == (3, length + 1, 13)


class SmoothedReversal(Task):
    """Write five symbols backwards; the targets are smoothed."""

    def batch(self, step):
        return reversal(2, batch=32, seed=step + 1, symbols=5)

    def loss(self, model, batch):
        logits = model(batch.source, batch.target_in)
        return smoothed_cross_entropy(logits, batch.target_out)

    def evaluate(self, model):
        return self.loss(model, self.batch(EVALUATION)).item()


class Noam(TrainConfig):
    """The paper's schedule, with a short warm-up."""

    def rate(self, step):
        return noam(step + 1, d_model=32, warmup=200)


def test_it_learns_to_reverse():
    torch.manual_seed(0)
    shape = {**vars(SHAPE), "d_model": 32, "heads": 4, "layers": 1, "d_ff": 64}
    model = Transformer(TransformerConfig(**shape))
    config = Noam(steps=100, clip=0.0)
    options = {"optimizer": adam(model), "progress": False}
    fit(model, SmoothedReversal(), config, **options)
    unseen = reversal(2, batch=100, seed=0, symbols=5)
    out = greedy(model, unseen.source, max_length=3)
    assert exact_match(out, unseen.target_out) > 0.8


@pytest.mark.parametrize("bad", [-100, -1, 5, 99])
def test_targets_outside_the_vocabulary_are_named(bad):
    targets = torch.tensor([0, bad, 4])
    low, high = min(bad, 0), max(bad, 4)
    message = f"^targets: got {low} to {high}, expected 0 to 4$"
    with pytest.raises(ValueError, match=message):
        smoothed_cross_entropy(torch.zeros(3, 5), targets)
    with pytest.raises(ValueError, match=message):
        smoothed_cross_entropy(torch.zeros(3, 5), targets, ignore=2)


@pytest.mark.parametrize("ignore", [-100, -1, 5, 0])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_what_is_ignored_may_be_any_number(ignore, dtype):
    torch.manual_seed(0)
    logits = torch.randn(4, 5)
    targets = torch.tensor([1, ignore, 4, ignore])
    right = F.cross_entropy(
        logits, targets, label_smoothing=0.1, ignore_index=ignore
    )
    found = smoothed_cross_entropy(logits, targets.to(dtype), 0.1, ignore)
    torch.testing.assert_close(found, right)


def test_without_smoothing_a_token_may_be_impossible():
    logits = torch.tensor([[0.0, 0.0, -torch.inf]])
    loss = smoothed_cross_entropy(logits, torch.tensor([0]), smoothing=0.0)
    assert loss.item() == pytest.approx(math.log(2))
