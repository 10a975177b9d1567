"""What the Transformer chapter shows of its attention, proved."""

import torch
from einops import rearrange

from llmnotes.transformer.transformer.alignment import alignment
from tests.transformer.transformer.test_model import (
    BATCH,
    SHAPE,
    SOURCE,
    TARGET,
    some_ids,
    tiny,
)


def test_the_weights_shown_are_those_the_layer_takes_its_mean_with():
    layer = tiny().decoder.layers[0].multihead_attn
    torch.manual_seed(2)
    x = torch.randn(BATCH, TARGET, SHAPE.d_model, dtype=torch.float64)
    context = torch.randn(BATCH, SOURCE, SHAPE.d_model, dtype=torch.float64)
    mask = (torch.rand(BATCH, 1, 1, SOURCE) > 0.4) | (torch.arange(SOURCE) < 1)
    weights = layer.weights(x, context, mask=mask)
    value = rearrange(layer.v_proj(context), "b t (h w) -> b h t w", h=3)
    merged = rearrange(weights @ value, "b h t w -> b t (h w)")
    torch.testing.assert_close(
        layer.o_proj(merged), layer(x, context, mask=mask)
    )


def test_an_alignment_has_rows_that_sum_to_one_and_none_on_padding():
    model, source, target = tiny(), some_ids(SOURCE), some_ids(TARGET, 2)
    lengths = torch.tensor([SOURCE, 4, 1])
    seen = alignment(model, source, target, lengths)
    assert seen.shape == (2, BATCH, 3, TARGET, SOURCE)
    torch.testing.assert_close(seen.sum(-1), torch.ones_like(seen[..., 0]))
    for row, length in enumerate(lengths):
        assert (seen[:, row, ..., length:] == 0).all()
    alone = alignment(model, source[1:2, :4], target[1:2])
    torch.testing.assert_close(seen[:, 1:2, ..., :4], alone)
    assert not model.decoder.layers[0].multihead_attn._forward_pre_hooks
