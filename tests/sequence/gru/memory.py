"""Who remembers how long: the contestants, and one run of one of them."""

import functools

import torch
from torch import nn

from llmnotes.sequence.gru import GRU, MinGRU, set_update_bias
from llmnotes.sequence.lstm import set_chrono_bias, set_forget_bias
from llmnotes.sequence.lstm.by_hand import FusedLSTM
from llmnotes.sequence.lstm.task import (
    HELD_OUT,
    TASKS,
    Answerer,
    learn,
    score,
)
from llmnotes.sequence.rnn import RNN, ReluRNN
from llmnotes.sequence.rnn.starts import start_identity, start_orthogonal

PARAMETERS, STEPS = 3000, 1500
LAGS = (10, 20, 40, 80)


def as_it_comes(recurrent, longest):
    """PyTorch's start."""


CONTESTANTS = {
    "RNN": (RNN, as_it_comes),
    "RNN, orthogonal": (RNN, lambda r, longest: start_orthogonal(r)),
    "ReLU RNN, identity": (ReluRNN, lambda r, longest: start_identity(r)),
    "LSTM": (FusedLSTM, as_it_comes),
    "LSTM, forget bias 1": (FusedLSTM, lambda r, _: set_forget_bias(r, 1.0)),
    "LSTM, forget bias 3": (FusedLSTM, lambda r, _: set_forget_bias(r, 3.0)),
    "LSTM, chrono": (FusedLSTM, set_chrono_bias),
    "GRU": (GRU, as_it_comes),
    "GRU, update bias 3": (GRU, lambda r, longest: set_update_bias(r, 3.0)),
    "minGRU, two layers": (
        functools.partial(MinGRU, num_layers=2),
        as_it_comes,
    ),
}
STARTS = {
    "RNN": "PyTorch's: all numbers even in ±1/√units",
    "RNN, orthogonal": "W orthogonal, biases 0 (Henaff et al. 2016)",
    "ReLU RNN, identity": "W = 1, biases 0, U small (Le et al. 2015)",
    "LSTM": "PyTorch's: forget biases about 0",
    "LSTM, forget bias 1": "forget biases 1 (Jozefowicz et al. 2015)",
    "LSTM, forget bias 3": "forget biases 3",
    "LSTM, chrono": "for waits up to the whole length (Tallec & Ollivier "
    "2018)",
    "GRU": "PyTorch's: update biases about 0",
    "GRU, update bias 3": "update biases 3",
    "minGRU, two layers": "PyTorch's nn.Linear",
}


def size(model):
    return sum(p.numel() for p in model.parameters())


@functools.cache
def hidden_for(name, task):
    """The number of units at which a contestant has about 3,000 numbers."""
    recurrent, _ = CONTESTANTS[name]
    with torch.device("meta"):
        return min(
            range(4, 200),
            key=lambda n: abs(
                size(Answerer(recurrent, TASKS[task], n)) - PARAMETERS
            ),
        )


def begun(name, task, lag, seed) -> nn.Module:
    """A contestant as it starts."""
    recurrent, start = CONTESTANTS[name]
    hidden = hidden_for(name, task)
    torch.manual_seed(seed)
    model = Answerer(recurrent, TASKS[task], hidden)
    length = TASKS[task].batch(1, lag, torch.Generator())[0].shape[1]
    start(model.recurrent, length)
    return model


def remembers(name, task, lag, rate, seed):
    """Train once: what chooses the rate, the share reported, the steps.

    Among rates at which nearly all is right the quicker one is better.
    """
    model = begun(name, task, lag, seed)
    steps = learn(
        model, TASKS[task], lag, steps=STEPS, learning_rate=rate, seed=seed
    )
    chosen = score(model, TASKS[task], lag, 2000, HELD_OUT + 1)
    right = score(model, TASKS[task], lag, 2000, HELD_OUT + 2)
    return round(chosen, 2) - steps / 1e6, right, steps
