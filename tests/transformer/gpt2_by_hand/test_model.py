"""The step of a whole model, and what it refuses before it writes."""

import re
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from llmnotes.transformer.gpt import GPTConfig
from llmnotes.transformer.gpt2_by_hand import (
    GPT2,
    Tensors,
    from_gpt,
    initial,
    loops,
    padded,
    parameter_shapes,
    reference,
)
from tests.transformer.gpt2_by_hand import by_torch, same, tiny
from tests.transformer.gpt2_by_hand.peak import bytes_of
from tests.transformer.gpt2_by_hand.tiny import TINY

MOVES = dict(lr=0.01, weight_decay=0.1)


def test_ten_steps_are_those_of_torchs_adamw():
    model, ours = tiny.scattered(), tiny.by_hand()
    optimizer = torch.optim.AdamW(model.parameters(), **MOVES)
    for seed in range(10):
        given = tiny.ids(seed=seed)
        loss, _, _ = by_torch.step(model, *given)
        optimizer.step()
        assert ours.step(*given, **MOVES) == pytest.approx(loss, abs=1e-11)
    found = same.errors(ours.weights, from_gpt(model, None, np.float64))
    # Keys' biases have no gradient; AdamW magnifies what rounding leaves.
    assert found.pop("qkvb") < 1e-8
    assert max(found.values()) < 1e-13, found
    assert ours.steps == 10


def test_a_step_holds_six_arenas_and_nothing_else():
    """Loops make no arrays; NumPy's are counted by tracemalloc."""
    config = GPTConfig(5003, n_positions=32, n_embd=32, n_layer=2, n_head=4)
    given = tiny.ids(config, 2, 32)
    warm = GPT2(tiny.TINY, initial(tiny.TINY, rows=128), loops)
    warm.step(*tiny.ids())
    tracemalloc.start()
    weights = Tensors(parameter_shapes(config, 5120))
    GPT2(config, weights, loops).step(*given)
    _, grown = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown == pytest.approx(bytes_of(config, 5120, 2, 32), rel=0.02)


def test_two_halves_of_a_batch_add_up_to_the_gradient_of_the_whole():
    tokens, targets = tiny.ids(batch=4)
    whole, halves = tiny.by_hand(), tiny.by_hand()
    whole.forward(tokens, targets)
    whole.backward()
    for part in (slice(0, 2), slice(2, 4)):
        halves.forward(tokens[part], targets[part])
        halves.backward(share=0.5)
    found = same.errors(halves.grads, whole.grads)
    assert max(found.values()) < 1e-14, found


def test_the_table_gets_a_gradient_from_both_its_ends():
    """As head from every token of the vocabulary, as input from those read."""
    ours = tiny.stepped()
    both = ours.grads["wte"].copy()
    ours.zero_grad()
    reference.encoder_backward(
        ours.grads["wte"],
        ours.grads["wpe"],
        ours.dacts["encoded"],
        ours.tensors["inputs"],
    )
    entered = ours.grads["wte"].copy()
    read = np.unique(ours.tensors["inputs"])
    assert set(np.flatnonzero(entered.any(1))) == set(read)
    head = both - entered
    dlogits, lnf = ours.dacts["logits"], ours.acts["lnf"]
    assert np.allclose(head, np.einsum("bto,btc->oc", dlogits, lnf))
    assert head[:11].any(1).all() and not head[11:].any()


def test_padding_changes_no_number_and_gets_no_gradient():
    plain, wide = tiny.by_hand(rows=11), tiny.by_hand(rows=padded(11))
    wide.weights["wte"][11:] = 99  # whatever stands there
    losses = [
        [ours.step(*tiny.ids(seed=seed), lr=0.01) for seed in range(3)]
        for ours in (plain, wide)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-12)
    assert not wide.acts["probs"][..., 11:].any()
    assert not wide.grads["wte"][11:].any()
    assert (wide.weights["wte"][11:] == 99).all()


def test_a_batch_of_another_shape_gets_room_of_its_own():
    ours = tiny.by_hand()
    for batch, length in ((2, 5), (1, 7), (3, 1)):
        ours.forward(*tiny.ids(batch=batch, length=length))
        assert ours.acts["losses"].shape == (batch, length)
        ours.backward()
    kept = ours.acts
    ours.forward(*tiny.ids(batch=3, length=1))
    assert ours.acts is kept


def test_without_targets_there_are_logits_and_no_loss():
    ours, (tokens, targets) = tiny.by_hand(), tiny.ids()
    ours.forward(tokens, targets)
    logits = ours.acts["logits"].copy()
    ours.acts["logits"][:] = 0
    ours.forward(tokens)
    assert ours.loss is None and np.array_equal(ours.acts["logits"], logits)


WRONG = {
    "a token behind the vocabulary": (
        lambda x: (x + (x == x[0, 0]) * (11 - x[0, 0]), x),
        "tokens: got 11, expected 0 to vocab_size - 1 = 10",
    ),
    "a target below 0": (
        lambda x: (x, x * 0 - 1),
        "targets: got -1, expected 0 to vocab_size - 1 = 10",
    ),
    "longer than the context": (
        lambda x: (np.zeros((2, 8), int), None),
        "tokens: got length 8, expected at most n_positions = 7",
    ),
    "one row": (
        lambda x: (x[0], None),
        "tokens: got (5,), expected (batch, length)",
    ),
    "nothing": (lambda x: (x[:0], None), "tokens: got (0, 5), expected"),
    "too few targets": (
        lambda x: (x, x[:, 1:]),
        "targets: got (2, 4), expected (2, 5)",
    ),
    "real numbers": (
        lambda x: (x * 1.0, None),
        "tokens: got float64, expected integers",
    ),
}


@pytest.mark.parametrize("given, message", WRONG.values(), ids=WRONG)
def test_ids_that_cannot_be_are_refused_before_anything_is_written(
    given, message
):
    ours, (tokens, targets) = tiny.by_hand(), tiny.ids()
    ours.forward(tokens, targets)
    before, loss = ours.acts.numbers.copy(), ours.loss
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        ours.forward(*given(tokens))
    assert np.array_equal(ours.acts.numbers, before) and ours.loss == loss


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_no_number_moves_nothing(bad):
    ours = tiny.by_hand()
    ours.step(*tiny.ids())
    ours.weights["lnfb"][3] = bad
    with np.errstate(all="ignore"):
        ours.forward(*tiny.ids())
        ours.backward()
    kept = [x.numbers.copy() for x in (ours.weights, ours.m, ours.v)]
    with pytest.raises(RuntimeError, match="^loss: got nan, expected a num"):
        ours.update()
    for before, x in zip(kept, (ours.weights, ours.m, ours.v), strict=True):
        assert np.array_equal(before, x.numbers, equal_nan=True)
    assert ours.steps == 1


def test_a_loss_of_an_earlier_micro_batch_moves_nothing_either():
    ours, (tokens, targets) = tiny.by_hand(), tiny.ids()
    ours.weights["wpe"][tokens.shape[1] - 1] = np.nan
    ours.forward(tokens, targets)
    ours.backward(0.5)
    ours.forward(tokens[:, :2], targets[:, :2])
    ours.backward(0.5)
    assert np.isfinite(ours.loss)
    with pytest.raises(RuntimeError, match="^loss: got nan, expected a num"):
        ours.update()
    ours.zero_grad()
    ours.backward()
    ours.update()  # those gradients are forgotten
    assert ours.steps == 1


def test_ids_may_be_lists_and_tensors():
    ours, (tokens, targets) = tiny.by_hand(), tiny.ids()
    ours.forward(tokens, targets)
    loss = ours.loss
    for kind in (np.ndarray.tolist, torch.from_numpy):
        ours.forward(kind(tokens), kind(targets))
        assert ours.loss == loss


@pytest.mark.parametrize("dtype", [np.float16, np.int32])
def test_other_precisions_are_refused(dtype):
    weights = Tensors(initial(TINY).shapes, dtype)
    with pytest.raises(ValueError, match="^weights: got .*, expected float32"):
        GPT2(TINY, weights, reference)


def test_a_rate_that_is_no_number_moves_nothing():
    ours = tiny.by_hand()
    ours.step(*tiny.ids())
    before = ours.weights.numbers.copy()
    with pytest.raises(ValueError, match="^lr: got nan, expected a number"):
        ours.update(lr=float("nan"))
    assert np.array_equal(ours.weights.numbers, before)


def test_backward_and_update_want_what_comes_before_them():
    ours = tiny.by_hand()
    with pytest.raises(RuntimeError, match="^update: got no gradients"):
        ours.update()
    ours.forward(tiny.ids()[0])
    with pytest.raises(RuntimeError, match="^backward: got no loss"):
        ours.backward()


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(dropout=0.1), "dropout: got 0.1, expected 0.0"),
        (
            dict(layer_norm_epsilon=1e-6),
            "layer_norm_epsilon: got 1e-06, expected 1e-05",
        ),
        (
            dict(n_layer=3),
            "ln1w: got shape (2, 12), expected (3, 12)",
        ),
        (
            dict(vocab_size=12),
            "wte: got shape (11, 12), expected (12, 12)",
        ),
    ],
)
def test_a_config_and_weights_that_do_not_fit_are_refused(change, message):
    weights = initial(TINY)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        GPT2(replace(TINY, **change), weights, reference)
