"""What the Phi chapter claims of the models, proved."""

import math
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llmnotes.models import phi
from llmnotes.models.kv_cache import KVCache
from llmnotes.models.llama import Attention, Block, Llama, LlamaConfig
from llmnotes.models.phi import (
    LAPTOP,
    MLP,
    BiasedAttention,
    ParallelBlock,
    PartlyRotary,
    Phi,
    Phi3,
    Phi3Config,
    PhiConfig,
    unfused,
)
from llmnotes.transformer.attention import MultiHeadAttention, as_projected
from llmnotes.transformer.gpt import left_padded, parameters
from llmnotes.transformer.rope import Rotary, angles
from tests.models.llama.tiny import VOCAB, scatter
from tests.models.phi.tiny import FAMILY, SHAPE, ids, ours

LENGTH = 9
PUBLISHED = {
    "PHI_1": 1_418_270_720,
    "PHI_1_5": 1_418_270_720,
    "PHI_2": 2_779_683_840,
    "PHI_3_MINI": 3_821_079_552,
    "PHI_3_MEDIUM": 13_960_238_080,
    "PHI_4": 14_659_507_200,
    "LAPTOP": 809_025,
}
every = pytest.mark.parametrize("name", FAMILY, ids=" ".join)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_exact(name):
    shape = getattr(phi, name)
    build = Phi if isinstance(shape, PhiConfig) else Phi3
    with torch.device("meta"):  # shapes without numbers
        assert parameters(build(shape)) == PUBLISHED[name]


@every
def test_the_count_follows_from_the_shape(name):
    model = ours(name)
    c = model.config
    d, inner, vocab = c.hidden_size, c.intermediate_size, c.vocab_size
    q, kv = (
        h * c.head_dim for h in (c.num_attention_heads, c.num_key_value_heads)
    )
    if isinstance(model, Phi):
        attention = 2 * d * (q + kv) + q + 2 * kv + d
        block = attention + 2 * d * inner + inner + d + 2 * d
        ends = 2 * vocab * d + vocab + 2 * d
    else:
        block = 2 * d * (q + kv) + 3 * d * inner + 2 * d
        ends = (1 if c.tie_word_embeddings else 2) * vocab * d + d
    assert parameters(model) == c.num_hidden_layers * block + ends


def test_a_block_reads_once_and_adds_once():
    torch.manual_seed(0)
    block = scatter(ParallelBlock(PhiConfig(**SHAPE), 0).double())
    x = torch.randn(2, LENGTH, 24).double()
    seen = []
    for part in (block.self_attn, block.mlp):
        part.register_forward_hook(lambda _, took, gave: seen.append(took[0]))
    out = block(x, as_projected)
    attended, bent = seen
    assert attended is bent  # one norm, one row for both
    normed = F.layer_norm(
        x, (24,), block.input_layernorm.weight, block.input_layernorm.bias
    )
    torch.testing.assert_close(attended, normed)
    expected = x + block.self_attn(normed, as_projected) + block.mlp(normed)
    torch.testing.assert_close(out, expected)


class Times(nn.Module):
    """Multiplies, whatever else it is given."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def forward(self, x, *more):
        return self.number * x


@pytest.mark.parametrize(
    # (1, 3) has mean 2 and spread 1, so its norm is (−1, 1). Attention makes
    # (2, −2) of that. Side by side the MLP makes (−2, 2), and all is as it
    # was; behind it, it sees the norm of (3, 1) and makes (2, −2).
    ("kind", "expected"),
    [(ParallelBlock, [1.0, 3.0]), (Block, [5.0, -1.0])],
)
def test_a_block_worked_by_hand(kind, expected):
    block = kind.__new__(kind)
    nn.Module.__init__(block)
    block.input_layernorm = nn.LayerNorm(2, eps=0.0)
    block.post_attention_layernorm = nn.LayerNorm(2, eps=0.0)
    block.self_attn, block.mlp, block.drop = Times(-2), Times(2), Times(1)
    row = block(torch.tensor([[[1.0, 3.0]]]), as_projected)
    assert row.flatten().tolist() == pytest.approx(expected)


def test_the_mlp_does_not_see_what_attention_found():
    """In the serial block it does."""
    torch.manual_seed(0)
    config = PhiConfig(**SHAPE)
    x = torch.randn(1, LENGTH, 24)

    class Serial(Block):
        norm, attention, feed_forward = nn.LayerNorm, BiasedAttention, MLP

    for kind, sees in ((ParallelBlock, False), (Serial, True)):
        block, took = scatter(kind(config, 0)), []
        block.mlp.register_forward_hook(
            lambda _, came, gave, took=took: took.append(came[0])
        )
        block(x, as_projected)
        with torch.no_grad():
            block.self_attn.o_proj.weight.mul_(2)
        block(x, as_projected)
        assert torch.equal(*took) != sees


def test_one_sum_joins_the_halves_of_a_split_block():
    """Each of two machines holds some heads and a part of the MLP."""
    torch.manual_seed(0)
    config = PhiConfig(**SHAPE | dict(num_attention_heads=6, head_dim=4))
    block = scatter(ParallelBlock(config, 0).double())
    x = torch.randn(2, LENGTH, 24).double()
    halves = [half(block, config, i) for i in range(2)]
    normed = block.input_layernorm(x)
    sums = [
        part.self_attn(normed, as_projected) + part.mlp(normed)
        for part in halves
    ]
    torch.testing.assert_close(x + sums[0] + sums[1], block(x, as_projected))


def half(block, config, i):
    """What one of two machines holds: rows of what reads the stream, columns
    of what adds to it, and half of each bias that is added to the stream."""
    some = PhiConfig(
        **SHAPE | dict(num_attention_heads=3, head_dim=4, intermediate_size=10)
    )
    part = ParallelBlock(some, 0).double()
    state = {}
    for name, weight in block.state_dict().items():
        writes = "o_proj" in name or "fc2" in name
        if "layernorm" in name:
            state[name] = weight
        elif writes and name.endswith("bias"):
            state[name] = weight / 2
        else:
            state[name] = weight.chunk(2, dim=1 if writes else 0)[i]
    part.load_state_dict(state)
    return part


def test_attention_is_that_of_its_chapter_with_biases_turned_in_part():
    torch.manual_seed(0)
    our = scatter(BiasedAttention(PhiConfig(**SHAPE), 0).double())
    plain = MultiHeadAttention(24, 3).double()
    plain.load_state_dict(our.state_dict())
    x = torch.randn(2, LENGTH, 24).double()
    turn = PartlyRotary(angles(torch.arange(LENGTH), 4, dtype=torch.float64))
    torch.testing.assert_close(
        our(x, turn), plain(x, prepare=turn, causal=True)
    )
    whole = Rotary(angles(torch.arange(LENGTH), 8, dtype=torch.float64))
    assert not torch.allclose(our(x, whole), our(x, turn))


def test_only_the_first_numbers_of_a_head_are_turned():
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, LENGTH, 10).unbind(0)
    turn = PartlyRotary(angles(torch.arange(LENGTH) + 1, 4))
    turned = turn(query, key, value)
    assert turned[2] is value
    for before, after in zip((query, key), turned, strict=False):
        assert torch.equal(after[..., 4:], before[..., 4:])
        assert (after[..., :4] != before[..., :4]).all()
        torch.testing.assert_close(after.norm(dim=-1), before.norm(dim=-1))


def test_frequencies_are_those_of_a_head_as_wide_as_its_turned_part():
    """Of 80 numbers 32 are turned: by θ of 32, not by the first of 80's."""
    theta = phi.PHI_2.frequencies()
    assert phi.PHI_2.rotary_dim == phi.PHI_1.rotary_dim == 32
    assert torch.equal(theta, phi.PHI_1.frequencies())
    assert theta[1].item() == pytest.approx(10000 ** (-2 / 32))
    assert len(phi.PHI_3_MINI.frequencies()) == 48


def test_a_part_of_a_score_knows_no_distance():
    """Keys that are alike where nothing turns match at any distance."""
    base = torch.zeros(1, 1, 1, 8).double()
    base[..., 4:] = 1.0
    rows = base.expand(1, 1, LENGTH, 8)
    place = torch.arange(LENGTH) * 7
    turn = PartlyRotary(angles(place, 4, dtype=torch.float64))
    query, key, _ = turn(rows, rows, rows)
    assert torch.equal(query @ key.mT, torch.full((1, 1, 9, 9), 4.0).double())
    query, key, _ = Rotary(angles(place, 8, dtype=torch.float64))(
        rows, rows, rows
    )
    assert (query @ key.mT).std() > 0.1


def test_phi_3_is_a_llama_whose_matrices_are_stacked():
    for change in ({}, dict(num_attention_heads=6, num_key_value_heads=2)):
        model = scatter(Phi3(Phi3Config(**SHAPE | change)).double())
        shape = asdict(model.config)
        del shape["sliding_window"], shape["partial_rotary_factor"]
        llama = Llama(LlamaConfig(**shape)).double()
        llama.load_state_dict(unfused(model))
        torch.testing.assert_close(llama(ids()), model(ids()))
        assert parameters(llama) == parameters(model)


@pytest.mark.parametrize("window", [1, 3, 8, 20])
def test_a_token_sees_as_many_as_the_window_holds_itself_among_them(window):
    model = ours(
        ("phi3", "window"), sliding_window=window, num_hidden_layers=1
    )
    before = model(ids())
    for t in range(LENGTH):
        changed = ids()
        changed[:, t] = (changed[:, t] + 1) % VOCAB
        moved = (model(changed) != before).any(-1).any(0)
        expected = [t <= i < t + window for i in range(LENGTH)]
        assert moved.tolist() == expected


@every
def test_changing_the_future_changes_nothing(name):
    model, text = ours(name), ids()
    before = model(text)
    for t in range(LENGTH - 1):
        changed = text.clone()
        changed[:, t + 1 :] = (text[:, t + 1 :] + 1) % VOCAB
        after = model(changed)
        torch.testing.assert_close(after[:, : t + 1], before[:, : t + 1])
        assert not torch.allclose(after[:, t + 1], before[:, t + 1])


@every
def test_a_padded_row_has_the_logits_that_it_has_alone(name):
    model = ours(name)
    prompts = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5]]
    text, mask = left_padded(prompts, pad=7)
    logits = model(text, mask)
    assert logits.isfinite().all()
    for row, prompt in zip(logits, prompts, strict=True):
        alone = model(torch.tensor([prompt]))[0]
        torch.testing.assert_close(row[-len(prompt) :], alone)


@every
@pytest.mark.parametrize("sizes", [(4, 5), (8, 1), (1, 3, 1, 4)])
def test_read_in_pieces_with_a_past_the_logits_are_the_same(name, sizes):
    model, text, past = ours(name), ids(), KVCache(LENGTH)
    parts = [model(piece, past=past) for piece in text.split(sizes, dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), model(text))


def test_dropout_acts_in_training_only_and_on_what_is_added():
    torch.manual_seed(0)
    model = scatter(Phi(PhiConfig(**SHAPE, resid_pdrop=0.5)))
    text = ids()
    assert torch.equal(model(text), model(text))
    model.train()
    assert not torch.equal(model(text), model(text))
    block, x = model.model["layers"][0], torch.randn(1, 3, 24)
    block.drop.p = 1.0
    assert torch.equal(block(x, as_projected), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_scores_beyond_65_504_are_finite_in_16_bits(dtype):
    torch.manual_seed(0)
    block = BiasedAttention(PhiConfig(**SHAPE), 0)
    with torch.no_grad():
        for part in (block.q_proj, block.k_proj):
            part.bias.add_(300)  # 300² · 8 in a score
    x = torch.randn(2, LENGTH, 24)
    query, key, _ = (part.to(dtype) for part in block.split(x))
    if dtype == torch.float16:
        assert (query @ key.mT).isinf().any()
    found = block.to(dtype)(x.to(dtype), as_projected)
    assert found.isfinite().all()


def test_the_first_loss_is_that_of_a_guess():
    torch.manual_seed(0)
    model, text = Phi(LAPTOP), torch.randint(65, (8, 64))
    loss = F.cross_entropy(model(text).flatten(0, 1), text.flatten().roll(1))
    assert loss.item() == pytest.approx(math.log(65), abs=0.05)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            assert (p == 0).all()
        elif p.ndim == 1:
            assert (p == 1).all()
        else:
            assert p.std().item() == pytest.approx(0.02, rel=0.05), name


REFUSED = {
    "rope_scaling: got {'rope_type': 'longrope'}, expected None": dict(
        rope_scaling={"rope_type": "longrope"}
    ),
    "partial_rotary_factor: got 0, expected 0 < it <= 1": dict(
        partial_rotary_factor=0
    ),
    "head_dim * partial_rotary_factor: got 3, expected an even number": dict(
        head_dim=6, partial_rotary_factor=0.5
    ),
    "resid_pdrop: got -0.1, expected 0 <= it < 1": dict(resid_pdrop=-0.1),
    "tie_word_embeddings: got True, expected False": dict(
        tie_word_embeddings=True
    ),
    "rms_norm_eps: got 0, expected more than 0": dict(rms_norm_eps=0),
}


@pytest.mark.parametrize(("message", "change"), REFUSED.items())
def test_shapes_that_cannot_be_are_refused_by_name(message, change):
    with pytest.raises(ValueError) as error:
        PhiConfig(**SHAPE | change)
    assert message in str(error.value)


def test_what_does_not_fit_is_refused_as_by_llama():
    for build in (Phi(PhiConfig(**SHAPE)), Phi3(Phi3Config(**SHAPE))):
        with pytest.raises(ValueError, match="ids: got 23 to 23, expected"):
            build(torch.full((1, 2), 23))
        with pytest.raises(ValueError, match="ids: got 41 tokens with the"):
            build(torch.ones(1, 41, dtype=torch.int64))


def test_a_config_is_rebuilt_from_what_a_checkpoint_holds():
    for config in (LAPTOP, phi.PHI_2, phi.PHI_3_MEDIUM):
        assert type(config)(**asdict(config)) == config


def test_every_part_of_the_attention_has_a_bias_and_llama_s_none():
    our = BiasedAttention(PhiConfig(**SHAPE), 0)
    assert all(part.bias is not None for part in our.children())
    llama = Attention(PhiConfig(**SHAPE), 0)
    assert all(part.bias is None for part in llama.children())
