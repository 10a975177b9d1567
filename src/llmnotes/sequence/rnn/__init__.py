"""Plain recurrent networks: the model, packed batches, gradients in time."""

from llmnotes.sequence.rnn.model import (
    RNN,
    Recurrent,
    ReluRNN,
    RNNScan,
    State,
    rnn_cell,
    rnn_step,
)
