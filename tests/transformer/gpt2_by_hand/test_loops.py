"""The compiled loops against the reference, each tensor by itself."""

import inspect

import numpy as np
import pytest
import torch

from llmnotes.transformer.gpt import GPTConfig
from llmnotes.transformer.gpt2_by_hand import GPT2, loops, reference
from tests.transformer.gpt2_by_hand import by_torch, same, tiny

CONFIG = GPTConfig(19, 9, n_embd=20, n_layer=2, n_head=5)


def sizes():
    """float32's errors: ours in loops, ours in NumPy and torch's."""
    wide = tiny.by_hand(tiny.scattered(CONFIG), rows=23)
    wide.forward(*tiny.ids(CONFIG, 3, 7))
    wide.backward()
    found = []
    for kernels in (loops, reference):
        ours = tiny.by_hand(
            tiny.scattered(CONFIG), kernels, rows=23, dtype=np.float32
        )
        ours.forward(*tiny.ids(CONFIG, 3, 7))
        ours.backward()
        found.append((ours.acts, ours.dacts, ours.grads))
    return found, (wide.acts, wide.dacts, wide.grads)


def test_every_tensor_is_as_near_to_float64_as_numpys():
    (fast, plain), exact = sizes()
    for ours, theirs, true in zip(fast, plain, exact, strict=True):
        for name, b in true.items():
            size = max(np.abs(b).max(), 1e-3)
            ours_, theirs_ = (
                np.abs(x[name] - b).max() / size for x in (ours, theirs)
            )
            assert ours_ <= 2 * theirs_ + 1e-6, name
            assert ours_ < 2e-5, name


def test_the_loss_and_gradients_are_torchs_in_float32():
    model = tiny.scattered(CONFIG).float()
    loss, acts, _ = by_torch.step(model, *tiny.ids(CONFIG, 3, 7))
    ours = tiny.by_hand(model, loops, rows=23, dtype=np.float32)
    ours.forward(*tiny.ids(CONFIG, 3, 7))
    ours.backward()
    assert ours.loss == pytest.approx(loss, rel=1e-6)
    for found in (
        same.errors(ours.acts, acts),
        same.errors(ours.grads, same.gradients(model)),
    ):
        assert max(found.values()) < 2e-5, found


def test_ten_steps_of_the_loops_follow_torchs():
    model = tiny.scattered(CONFIG).float()
    ours = tiny.by_hand(model, loops, rows=23, dtype=np.float32)
    moves = dict(lr=0.01, weight_decay=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), **moves)
    for seed in range(10):
        given = tiny.ids(CONFIG, 3, 7, seed)
        loss, _, _ = by_torch.step(model, *given)
        optimizer.step()
        assert ours.step(*given, **moves) == pytest.approx(loss, rel=1e-4)


def test_the_loops_have_the_reference_s_names_and_arguments():
    for name, function in vars(reference).items():
        if name.endswith(("_forward", "_backward")) or name == "adamw":
            ours = inspect.signature(getattr(loops, name).py_func)
            theirs = inspect.signature(inspect.unwrap(function))
            assert list(ours.parameters) == list(theirs.parameters), name


def test_a_nan_stays_one():
    """Fast-math in full may assume that there is none."""
    weights = tiny.by_hand(dtype=np.float32).weights
    weights["qkvw"][1, 2, 3] = np.nan
    ours = GPT2(tiny.TINY, weights, loops)
    ours.forward(*tiny.ids())
    assert np.isnan(ours.loss)
    ours.backward()
    with pytest.raises(RuntimeError, match="^loss: got nan"):
        ours.update()
