"""The ways to write a state, against each other and against others."""

import pytest
import torch
from transformers.models.qwen3_next import modeling_qwen3_next as qwen

from llmnotes.models.mamba import memories, scan, ssd


def draws(length=9, size=4, width=5):
    torch.manual_seed(length)
    shape = (2, 3, length)
    query, key = torch.randn(2, *shape, size, dtype=torch.float64)
    value = torch.randn(*shape, width, dtype=torch.float64)
    decay, strength = torch.rand(2, *shape, dtype=torch.float64)
    return query, key, value, decay, strength


def close(a, b, bound=1e-10):
    torch.testing.assert_close(a, b, rtol=bound, atol=bound)


def test_linear_attention_is_attention_without_a_softmax():
    query, key, value, _, _ = draws()
    out, _ = memories.recurrence(memories.linear, query, key, value)
    close(out, (query @ key.mT).tril() @ value)


def test_linear_attention_with_a_decay_is_mamba_2():
    query, key, value, decay, _ = draws()
    out, state = memories.recurrence(memories.fading, query, key, value, decay)
    for form in (ssd.loop, ssd.chunked):
        found, last = form(value, decay.log(), key, query)
        close(found, out)
        close(last, state)


def test_mamba_is_that_with_a_decay_for_every_number():
    query, key, value, decay, _ = draws()
    A = -torch.rand(5, 4, dtype=torch.float64)
    state, steps = torch.zeros(2, 4, 5, dtype=torch.float64), decay[:, 0]
    delta = steps[..., None].expand(2, 9, 5)
    y, last = scan.selective_scan(
        value[:, 0], delta, A, key[:, 0], query[:, 0]
    )
    for t in range(9):
        state = memories.selective(
            state, key[:, 0, t], value[:, 0, t], delta[:, t, None], A.mT
        )
        close(memories.read(state, query[:, 0, t]), y[:, t])
    close(state.mT, last)


def test_s4d_is_mamba_whose_tokens_say_nothing():
    query, key, value, _, _ = draws()
    A = -torch.rand(4, dtype=torch.float64)
    B, delta = torch.randn(4, dtype=torch.float64), 0.3
    y, last = scan.selective_scan(
        value[:, 0],
        torch.full_like(value[:, 0], delta),
        A.expand(5, 4),
        B.expand(2, 9, 4),
        query[:, 0],
    )
    decay, place = torch.exp(delta * A)[:, None], delta * B
    state = torch.zeros(2, 4, 5, dtype=torch.float64)
    for t in range(9):
        state = memories.invariant(
            state, key[:, 0, t], value[:, 0, t], decay, place
        )
        close(memories.read(state, query[:, 0, t]), y[:, t])
    close(state.mT, last)


def test_the_gated_delta_rule_is_that_of_qwen():
    query, key, value, decay, strength = draws()
    out, state = memories.recurrence(
        memories.gated_delta, query, key, value, decay, strength
    )
    theirs, last = qwen.torch_recurrent_gated_delta_rule(
        *(x.transpose(1, 2) for x in (query * 2, key, value, decay.log())),
        beta=strength.transpose(1, 2),
        initial_state=None,
        output_final_state=True,
    )
    close(theirs.transpose(1, 2).double(), out, 1e-5)
    close(last.double(), state, 1e-5)


def test_full_strength_writes_what_is_read_back():
    _, key, value, _, strength = draws(1)
    key = torch.nn.functional.normalize(key, dim=-1)
    whole = torch.ones_like(strength)
    before = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    state = memories.delta_rule(
        before, key[:, :, 0], value[:, :, 0], whole[..., None]
    )
    close(memories.read(state, key[:, :, 0]), value[:, :, 0])
    added = memories.linear(before, key[:, :, 0], value[:, :, 0])
    was = memories.read(before, key[:, :, 0])
    close(memories.read(added, key[:, :, 0]), was + value[:, :, 0])


def test_by_hand():
    key, value = torch.tensor([[1.0, 0.0]]), torch.tensor([[4.0]])
    state = torch.tensor([[[2.0], [8.0]]])
    half = torch.tensor([[[0.5]]])
    found = {
        "linear": memories.linear(state, key, value),
        "fading": memories.fading(state, key, value, half),
        "invariant": memories.invariant(
            state, key, value, half, torch.tensor([3.0, 1.0])
        ),
        "delta": memories.delta_rule(state, key, value, half),
        "gated": memories.gated_delta(state, key, value, half, half),
    }
    said = {name: x.flatten().tolist() for name, x in found.items()}
    assert said == {
        "linear": [6, 8],
        "fading": [5, 4],
        "invariant": [13, 8],  # the key has no say
        "delta": [3, 8],  # halfway from 2 to 4
        "gated": [2.5, 4],  # halfway from 1 to 4
    }


def test_a_strength_of_two_swings_and_beyond_it_runs_away():
    key = torch.tensor([[1.0, 0.0]])
    value, sizes = torch.zeros(1, 1), {}
    for strength in (0.5, 2.0, 2.5):
        state, beta = torch.ones(1, 2, 1), torch.tensor([[[strength]]])
        for _ in range(40):
            state = memories.delta_rule(state, key, value, beta)
        sizes[strength] = state[0, 0].abs().item()
    assert sizes[0.5] < 1e-9
    assert sizes[2.0] == 1
    assert sizes[2.5] > 1e6


def test_an_lstm_s_gates_write_under_every_key():
    key, value = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.5]])
    state = memories.lstm(torch.zeros(1, 2, 1), key, value)
    half = torch.tanh(torch.tensor(0.5)).item() / 2
    assert state.flatten().tolist() == pytest.approx([half, half])


def test_what_does_not_fit_is_named():
    query, key, value, decay, _ = draws()
    with pytest.raises(
        ValueError, match="key: got length 8, expected query's"
    ):
        memories.recurrence(memories.linear, query, key[..., 1:, :], value)
    with pytest.raises(ValueError, match="key: got head_dim 3, expected quer"):
        memories.recurrence(memories.linear, query, key[..., 1:], value)
    with pytest.raises(
        ValueError, match="gates: got length 8, expected query's 9"
    ):
        memories.recurrence(memories.fading, query, key, value, decay[..., 1:])


def test_the_lstms_gate_by_hand():
    key = torch.tensor([1.0, 0.0, 0.0, -1.0], dtype=torch.float64)
    value = torch.tensor([0.5, -2.0], dtype=torch.float64)
    state = memories.lstm(torch.ones(4, 2, dtype=torch.float64), key, value)
    gate = torch.sigmoid(torch.tensor([2.0, 0.0, 0.0, -2.0])).double()
    expected = 1 + gate[:, None] * torch.tanh(value)
    torch.testing.assert_close(state, expected, rtol=1e-6, atol=1e-6)
