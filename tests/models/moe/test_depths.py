"""Mixture of depths: who passes a block, and what it costs."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from llmnotes.models.kv_cache import KVCache
from llmnotes.models.llama import Llama, LlamaConfig
from llmnotes.models.moe import DepthLlama, picks
from tests.models.llama.tiny import SHAPE, scatter, some_ids

LENGTH = 16
CONFIG = LlamaConfig(**SHAPE | {"num_hidden_layers": 4})


def deep():
    return scatter(DepthLlama(CONFIG).double())


def test_the_largest_scores_are_picked_and_stay_in_order():
    scores = torch.tensor([[0.1, 0.9, 0.3, 0.8], [0.5, 0.1, 0.4, 0.2]])
    assert picks(scores, 0.5).tolist() == [[1, 3], [0, 2]]
    assert picks(scores, 0.01).shape == (2, 1)


def test_who_skips_a_block_leaves_it_as_it_came():
    model = deep()
    block = model.model["layers"][1]
    x = torch.randn(3, LENGTH, 24, dtype=torch.float64)
    turn = model.turn(torch.arange(LENGTH), x.dtype)
    out = block(x, turn)
    passed = picks(block.gate(x).squeeze(-1), block.share)
    moved = (out != x).any(-1)
    assert passed.shape == (3, 2)
    right = torch.zeros(3, LENGTH, dtype=torch.bool).scatter(1, passed, True)
    assert torch.equal(moved, right)


def test_with_everybody_through_and_a_wide_open_gate_it_is_a_llama():
    model, other = deep(), Llama(CONFIG).double().eval()
    other.load_state_dict(model.state_dict(), strict=False)
    for block in model.model["layers"]:
        block.share = 1.0
        if block.skips:
            del block.gate
            block.gate = lambda x: torch.full_like(x[..., :1], 99.0)
    ids = some_ids(LENGTH)
    torch.testing.assert_close(model(ids), other(ids))


def test_half_the_blocks_cost_an_eighth():
    model, other, ids = deep(), Llama(CONFIG).double(), some_ids(LENGTH)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        found = []
        for each in (model, other):
            with FlopCounterMode(display=False) as counter:
                each(ids)
            counts = counter.get_flop_counts()
            found.append(
                [
                    sum(
                        counts[
                            f"{type(each).__name__}.model.layers.{i}"
                        ].values()
                    )
                    for i in range(4)
                ]
            )
    gates = 2 * ids.numel() * 24
    for i in (0, 2):
        assert found[0][i] == found[1][i]
    for i in (1, 3):
        assert found[0][i] - gates < found[1][i] / 8


def test_a_choice_among_all_tokens_cannot_be_made_token_by_token():
    with pytest.raises(ValueError, match="past, mask: got one, expected none"):
        deep()(some_ids(3), past=KVCache(9))
