"""The LSTM: the model, its gradient by hand and compiled, real weights."""

from llmnotes.sequence.lstm.model import (
    LSTM,
    LSTM1997,
    Gates,
    lstm_1997_cell,
    lstm_1997_step,
    lstm_cell,
    lstm_parameters,
    lstm_step,
    lstm_step_gradient,
    open_gates,
    set_chrono_bias,
    set_forget_bias,
)
