"""The error on its way back through a memory, proved."""

import math

import pytest
import torch

from llmnotes.sequence.lstm import LSTM, LSTM1997
from llmnotes.sequence.lstm.carousel import carried_states, gain_by_lag
from llmnotes.sequence.rnn import RNN

BATCH, LENGTH, INPUT, HIDDEN = 2, 9, 5, 3


def model_and_input(kind):
    torch.manual_seed(0)
    model = kind(INPUT, HIDDEN).double()
    return model, torch.randn(BATCH, LENGTH, INPUT, dtype=torch.float64)


def test_the_carousel_of_1997_keeps_the_error_constant():
    gain = gain_by_lag(*model_and_input(LSTM1997), direct=True)
    torch.testing.assert_close(gain, torch.ones_like(gain), rtol=0, atol=0)


@pytest.mark.parametrize("bias", [0.0, 1.0, 3.0])
def test_through_the_memory_alone_an_error_is_the_product_of_forget_gates(
    bias,
):
    model, x = model_and_input(LSTM)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter[HIDDEN : 2 * HIDDEN] = 0
        model.bias_ih_l0[HIDDEN : 2 * HIDDEN] = bias
    share = 1 / (1 + math.exp(-bias))
    lags = torch.arange(LENGTH + 1)
    torch.testing.assert_close(
        gain_by_lag(model, x, direct=True), share ** lags.double()
    )


@pytest.mark.parametrize("kind", [RNN, LSTM, LSTM1997])
def test_the_states_are_those_of_the_layer(kind):
    model, x = model_and_input(kind)
    carried = carried_states(model, x)
    assert len(carried) == LENGTH + 1
    _, state = model(x)
    last = state[-1][0] if model.states == 2 else state[0]
    torch.testing.assert_close(carried[-1], last)


@pytest.mark.parametrize("kind", [RNN, LSTM, LSTM1997])
def test_the_gain_is_that_of_a_small_push(kind):
    """Finite differences: push the carried state at T - 2, look at T."""
    model, x = model_and_input(kind)
    weight_ih, weight_hh, bias_ih, bias_hh = model.weights(0, 0)
    projected = x @ weight_ih.T + bias_ih
    state = (torch.zeros(BATCH, HIDDEN, dtype=x.dtype),) * model.states
    for t in range(LENGTH - 2):
        state = model.step(projected[:, t], state, weight_hh, bias_hh)

    def later(push):
        now = (state[-1] + push,)
        if model.states == 2:  # h shows c, so it moves as well
            h, c = state
            now = h / c.tanh() * now[0].tanh(), *now
        for t in (LENGTH - 2, LENGTH - 1):
            now = model.step(projected[:, t], now, weight_hh, bias_hh)
        return now[-1]

    square = 0
    for unit in range(HIDDEN):
        push = torch.zeros(HIDDEN, dtype=x.dtype)
        push[unit] = 1e-5
        square += ((later(push) - later(-push)) / 2e-5).square().sum()
    expected = (square / (HIDDEN * BATCH)).sqrt()
    torch.testing.assert_close(gain_by_lag(model, x)[2], expected)
