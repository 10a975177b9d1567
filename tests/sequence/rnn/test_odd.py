"""Two units and ten numbers hold the parity of a sequence of any length."""

import pytest
import torch

from llmnotes.sequence.rnn.odd import is_odd, parity_network


@pytest.mark.parametrize("length", [1, 8, 9, 1000])
def test_two_units_hold_the_parity_at_every_step(length):
    torch.manual_seed(0)
    bits = torch.randint(2, (32, length))
    out, _ = parity_network()(bits[..., None].float())
    assert torch.equal(is_odd(out).long(), bits.cumsum(1) % 2)


def test_a_soft_switch_forgets():
    """The state must be pulled back to ±1 faster than it strays."""
    bits = torch.ones(1, 1000, 1)
    out, _ = parity_network(gain=1.0)(bits)
    assert not torch.equal(is_odd(out)[0, -2:], torch.tensor([1.0, 0.0]))
