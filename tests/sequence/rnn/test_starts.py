"""Starts that let a recurrent network remember."""

import torch

from llmnotes.sequence.gru import GRU
from llmnotes.sequence.lstm import LSTM
from llmnotes.sequence.rnn import RNN, ReluRNN
from llmnotes.sequence.rnn.starts import start_identity, start_orthogonal


def test_an_orthogonal_start_keeps_the_length_of_what_it_sends_on():
    torch.manual_seed(0)
    model = start_orthogonal(RNN(3, 7, 2, bidirectional=True)).double()
    h = torch.randn(5, 7, dtype=torch.float64)
    for name, p in model.named_parameters():
        if name.startswith("weight_hh"):
            sent = h
            for _ in range(100):
                sent = sent @ p.T
            torch.testing.assert_close(
                sent.norm(dim=1), h.norm(dim=1), rtol=1e-4, atol=0
            )
            assert not torch.allclose(p, torch.eye(7, dtype=p.dtype))
        elif name.startswith("bias"):
            assert not p.any()
        else:  # U stays as it was drawn
            assert p.std() > 0.1


def test_an_identity_start_hands_its_state_on_unchanged():
    torch.manual_seed(0)
    model = start_identity(ReluRNN(3, 7))
    state = torch.rand(1, 5, 7)
    out, last = model(torch.zeros(5, 100, 3), state)
    torch.testing.assert_close(last, state)
    torch.testing.assert_close(out[:, 41], state[0])
    assert 0 < model.weight_ih_l0.std() < 0.002


def test_of_stacked_gates_each_keeps_lengths_by_itself():
    """Four gates drawn as one tall matrix keep a length between them."""
    torch.manual_seed(0)
    one = torch.eye(7)
    for kind in (GRU, LSTM):
        for gate in start_orthogonal(kind(3, 7)).weight_hh_l0.chunk(
            kind.gates
        ):
            torch.testing.assert_close(gate @ gate.T, one, atol=1e-5, rtol=0)
        for gate in start_identity(kind(3, 7)).weight_hh_l0.chunk(kind.gates):
            assert torch.equal(gate, one)
