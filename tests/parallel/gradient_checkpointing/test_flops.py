"""FLOPs of a step: by formula, and as PyTorch's counter finds them."""

from functools import partial

import pytest
import torch
from torch.utils.checkpoint import checkpoint as torch_checkpoint
from torch.utils.checkpoint import set_checkpoint_early_stop
from torch.utils.flop_counter import FlopCounterMode

from llmnotes.parallel.gradient_checkpointing import (
    REDONE,
    Full,
    Layer,
    Selective,
    checkpointed,
    forward_flops,
    forwards,
    overhead,
    published_overhead,
    recomputed_flops,
    step_flops,
)

B, S, H, A = 2, 8, 12, 3
F = 24 * B * S * H**2 + 4 * B * S**2 * H


class TorchsSelective(Layer):
    """The core recomputed by torch's checkpoint."""

    def core(self, query, key, value):
        core = super().core
        return torch_checkpoint(core, query, key, value, use_reentrant=False)


def counted(layer, early=True):
    x = torch.randn(B, S, H, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        with set_checkpoint_early_stop(early):
            layer(x).sum().backward()
    return counter.get_total_flops()


WAYS = {
    "nothing": lambda: counted(Layer(H, A)),
    "selective": lambda: counted(Selective(H, A)),
    "selective, early stop": lambda: counted(TorchsSelective(H, A)),
    "full": lambda: counted(Full(H, A)),
    "full, early stop": lambda: counted(
        partial(torch_checkpoint, Layer(H, A), use_reentrant=False)
    ),
}


@pytest.mark.parametrize("what", REDONE)
def test_the_formula_is_what_is_counted(what):
    assert WAYS[what]() == step_flops(B, S, H, what)


def test_by_hand():
    assert forward_flops(B, S, H) == F == 61_440
    again = partial(recomputed_flops, B, S, H)
    assert again("full") == F
    assert again("full, early stop") == F - 8 * B * S * H**2
    assert step_flops(B, S, H, "full, early stop") / F == pytest.approx(3.7)
    assert again("selective") == 4 * B * S**2 * H
    assert again("selective, early stop") == 2 * B * S**2 * H


def test_torchs_other_ways_make_everything_again():
    layer = partial(torch_checkpoint, Layer(H, A), use_reentrant=True)
    assert counted(layer) == 4 * F
    layer = partial(torch_checkpoint, Layer(H, A), use_reentrant=False)
    assert counted(layer, early=False) == 4 * F
    assert counted(TorchsSelective(H, A), early=False) == step_flops(
        B, S, H, "selective"
    )


def test_the_published_overhead_counts_the_core_three_times():
    for length, hidden, layers, published, ours in (
        (2048, 12288, 96, 0.027, 0.00898),
        (2048, 20480, 105, 0.016, 0.00545),
    ):
        size = length, hidden, layers, 51200
        found = published_overhead(*size)
        assert round(found, 3) == published
        assert overhead(*size, "selective") == pytest.approx(ours, abs=5e-6)
        assert found == pytest.approx(3 * overhead(*size, "selective"))
        assert overhead(*size, "full") == pytest.approx(0.3325, abs=0.0006)


@pytest.mark.parametrize(("layers", "segments"), [(7, 3), (10, 4), (4, 1)])
def test_the_last_segment_is_not_run_again(layers, segments):
    stack = checkpointed(
        [torch.nn.Linear(3, 3) for _ in range(layers)], segments
    )
    with FlopCounterMode(display=False) as counter:
        out = stack(torch.randn(2, 3, requires_grad=True))
        first = counter.get_total_flops()
        out.sum().backward()
    one = first / layers
    again = counter.get_total_flops() / one - 3 * layers
    assert layers + again == forwards(stack.sizes)


def test_an_unknown_way_is_refused():
    with pytest.raises(ValueError, match="what: got 'half', expected one of"):
        recomputed_flops(1, 1, 1, "half")
