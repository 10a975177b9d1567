"""What layers keep: by formula, and counted, the same number of bytes."""

from collections import Counter

import pytest
import torch

from llmnotes.parallel.data_parallel import Living
from llmnotes.parallel.gradient_checkpointing import (
    FLOAT32_ON_CPU,
    Full,
    Layer,
    Saved,
    Selective,
    activations,
    checkpoint,
    everything,
    full,
    per_sbh,
    selective,
    sequence,
    tensor,
)
from llmnotes.transformer.attention import merge_heads, split_heads
from tests.parallel.gradient_checkpointing import cases

WAYS = ((Layer, everything), (Selective, selective), (Full, full))
SIZES = ((2, 8, 12, 3), (3, 5, 14, 2), (4, 7, 6, 3))  # b, s, h, a


def counted(layer, batch, length, hidden):
    x = torch.randn(batch, length, hidden, requires_grad=True)
    with Saved(layer.parameters()) as saved:
        layer(x)
    return saved.bytes


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize(("kind", "keep"), WAYS)
def test_the_formula_is_right_to_the_byte(kind, keep, dropout, size):
    *shape, heads = size
    layer = kind(shape[-1], heads, dropout)
    expected = activations(
        *size, keep=keep, width=FLOAT32_ON_CPU, dropout=dropout
    )
    assert counted(layer, *shape) == expected


def test_without_copies_the_whole_buffer_of_qkv_is_kept():
    # One sequence, or one head, needs no copy of K to be multiplied; then
    # autograd holds the buffer in which Q, K and V lie, and the scaled Q.
    for size in (1, 7, 6, 3), (2, 7, 6, 1):
        *shape, heads = size
        more = counted(Layer(6, heads), *shape)
        more -= activations(*size, width=FLOAT32_ON_CPU, dropout=0)
        assert more == 4 * shape[0] * shape[1] * shape[2]


def test_by_hand_in_float32():
    # s = 8, b = 2, h = 12, a = 3: sbh = 192, as/h = 2, 16/h = 4/3.
    on = per_sbh(8, 12, 3, width=FLOAT32_ON_CPU)
    off = per_sbh(8, 12, 3, width=FLOAT32_ON_CPU, dropout=0)
    assert on == pytest.approx(72 + 12 * 2 + 16 / 12)
    assert off == pytest.approx(64 + 4 * 2 + 16 / 12)


def test_the_ways_give_the_same_gradients():
    found = []
    for kind, _ in WAYS:
        torch.manual_seed(0)
        layer, x = kind(12, 3, 0.1), torch.randn(2, 5, 12)
        torch.manual_seed(1)
        loss = layer(x).square().sum()
        found.append(cases.grads(loss, list(layer.parameters())))
    assert all(map(torch.equal, found[0], found[1]))
    assert all(map(torch.equal, found[0], found[2]))


class ScaledOutside(Selective):
    """The trap: a copy of Q goes in, and K and V hold the whole buffer."""

    def attend(self, x):
        query, key, value = (
            split_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1)
        )
        query = query * query.shape[-1] ** -0.5
        return self.projection(merge_heads(self.core(query, key, value)))


def test_a_query_scaled_outside_of_the_region_costs_a_copy():
    sbh = 2 * 8 * 12
    inside, outside = (
        counted(kind(12, 3, 0.1), 2, 8, 12)
        for kind in (Selective, ScaledOutside)
    )
    assert inside / sbh == pytest.approx(72 + 16 / 12)
    assert outside - inside == 4 * sbh


def test_the_papers_formulas():
    s, h, a, t = 2048, 12288, 96, 8  # GPT-3
    core = 5 * a * s / h
    assert core == 80
    assert per_sbh(s, h, a) == 34 + core
    for keep, share, expected in (
        (everything, tensor, 10 + 24 / t + core / t),
        (everything, sequence, (34 + core) / t),
        (selective, tensor, 10 + 24 / t),
        (selective, sequence, 34 / t),
        (full, tensor, 2),
        (full, sequence, 2 / t),
    ):
        found = per_sbh(s, h, a, ranks=t, keep=keep, share=share)
        assert found == pytest.approx(expected, abs=1e-12)


def test_the_papers_bytes():
    assert activations(1, 2048, 12288, 96) == 2_868_903_936
    assert activations(4, 2048, 6144, 64) == pytest.approx(7.080e9, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 0}, "batch: got 0, expected at least 1"),
        ({"heads": 5}, "heads: got 5, expected a divisor of hidden = 12"),
        ({"ranks": 2}, "ranks: got 2, expected a divisor of heads = 3"),
    ],
)
def test_sizes_that_cannot_be(change, message):
    sizes = {"batch": 2, "length": 8, "hidden": 12, "heads": 3}
    with pytest.raises(ValueError, match=message):
        activations(**(sizes | change))


def test_a_gpt_block_keeps_what_the_formula_says():
    # Fused attention keeps its output and a logarithm for each row instead
    # of the weights: 64 + 4a/h + 16/h. With dropout PyTorch's CPU kernel is
    # the plain one, and keeps all that the paper's layer keeps.
    b, s, h, a = 3, 11, 20, 2
    block = cases.gpt().transformer.h[0]
    assert counted(block, b, s, h) == b * s * (64 * h + 4 * a + 16)
    block = cases.gpt(0.1).transformer.h[0]
    expected = activations(b, s, h, a, width=FLOAT32_ON_CPU)
    assert counted(block, b, s, h) == expected


def test_parameters_do_not_count_and_views_count_once():
    layer = torch.nn.Linear(3, 3)
    x = torch.randn(5, 3, requires_grad=True)
    with Saved(layer.parameters()) as saved:
        layer(x) * x[:2].sum()
    shapes = Counter(tuple(t.shape) for t in saved.tensors)
    assert saved.bytes == 4 * (15 + 15 + 1)  # x, the output, the sum
    assert shapes[(3, 3)] == 0


def test_a_region_of_one_linear_layer_saves_nothing():
    found = []
    for again in (False, True):
        layer = torch.nn.Linear(6, 6)
        x = torch.randn(5, 6, requires_grad=True)
        with Saved(layer.parameters()) as saved:
            checkpoint(layer, x) if again else layer(x)
        found.append(saved.bytes)
    assert found[0] == found[1] == 4 * 30


def test_what_is_forgotten_does_not_live():
    layer, x = Full(12, 3), torch.randn(2, 8, 12)
    with Living() as living:
        out = layer(x)
    assert living.bytes == 4 * out.numel()
    assert living.peak > 8 * living.bytes  # but it did while it was made
