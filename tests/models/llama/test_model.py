"""What the Llama chapter claims of the model, proved."""

import math
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llmnotes.models import llama
from llmnotes.models.llama import (
    LAPTOP,
    Attention,
    Block,
    Llama,
    LlamaConfig,
    RMSNorm,
    SwiGLU,
    rms_norm,
    swiglu_width,
)
from llmnotes.models.llama.model import places
from llmnotes.transformer.attention import (
    MultiHeadAttention,
    sliding_window_mask,
)
from llmnotes.transformer.gpt import generate, left_padded, parameters
from llmnotes.transformer.rope import Rotary, angles
from tests.models.llama.tiny import FAMILY, SHAPE, VOCAB, scatter, some_ids

LENGTH = 9
PUBLISHED = {
    "LLAMA_1_7B": 6_738_415_616,
    "LLAMA_1_13B": 13_015_864_320,
    "LLAMA_1_33B": 32_528_943_616,
    "LLAMA_1_65B": 65_285_660_672,
    "LLAMA_2_7B": 6_738_415_616,
    "LLAMA_2_13B": 13_015_864_320,
    "LLAMA_2_70B": 68_976_648_192,
    "LLAMA_3_8B": 8_030_261_248,
    "LLAMA_3_70B": 70_553_706_496,
    "LLAMA_3_1_405B": 405_853_388_800,
    "LLAMA_3_2_1B": 1_235_814_400,
    "LLAMA_3_2_3B": 3_212_749_824,
    "LAPTOP": 742_784,
}


def tiny(name="GQA", **options):
    """A model of random weights in float64."""
    config = LlamaConfig(**SHAPE | FAMILY[name] | options)
    return scatter(Llama(config).double())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_exact(name):
    with torch.device("meta"):  # shapes without numbers
        model = Llama(getattr(llama, name))
    assert parameters(model) == PUBLISHED[name]


@pytest.mark.parametrize("name", FAMILY)
def test_the_count_follows_from_the_shape(name):
    model = tiny(name)
    c = model.config
    d, heads, kv = c.hidden_size, c.num_attention_heads, c.num_key_value_heads
    attention = 2 * d * (heads + kv) * c.head_dim
    block = attention + 3 * d * c.intermediate_size + 2 * d
    ends = (1 if c.tie_word_embeddings else 2) * c.vocab_size * d
    assert parameters(model) == c.num_hidden_layers * block + ends + d


def test_widths_of_the_mlp_are_two_thirds_of_four_rounded_up():
    for config in (llama.LLAMA_1_7B, llama.LLAMA_1_13B, llama.LLAMA_1_65B):
        inner = swiglu_width(config.hidden_size)
        assert inner == config.intermediate_size
    assert swiglu_width(8192, more=1.3, multiple=4096) == 28672  # 70B
    assert swiglu_width(4096, more=1.3, multiple=1024) == 14336  # 3 8B
    # Without rounding the parameters are those of GPT-2's MLP.
    assert 3 * 96 * swiglu_width(96, multiple=1) == 2 * 96 * (4 * 96)


def test_a_norm_worked_by_hand():
    # mean square (9 + 16)/2 = 12.5; its root 3.5355
    row = rms_norm(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0]), 0.0)
    assert row.tolist() == pytest.approx([0.848528, 2.262742], abs=1e-6)


def test_the_norm_keeps_the_mean_and_forgets_the_size():
    torch.manual_seed(0)
    x, gain = torch.randn(5, 7).double(), torch.randn(7).double()
    torch.testing.assert_close(
        rms_norm(x, gain, 0.0), rms_norm(9 * x, gain, 0)
    )
    assert not torch.allclose(
        rms_norm(x, gain, 0.0), rms_norm(x + 1, gain, 0.0)
    )
    centred = x - x.mean(-1, keepdim=True)  # then it is a LayerNorm
    torch.testing.assert_close(
        rms_norm(centred, gain, 1e-5), F.layer_norm(x, (7,), gain, eps=1e-5)
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_squares_in_16_bits_neither_overflow_nor_lose_digits(dtype):
    torch.manual_seed(0)
    x = (300 * torch.randn(4, 512)).to(dtype)  # 300² is beyond float16
    gain = torch.rand(512).to(dtype)
    ours = rms_norm(x, gain, 1e-5)
    exact = rms_norm(x.double(), gain.double(), 1e-5)
    theirs = F.rms_norm(x, (512,), gain, 1e-5)
    errors = [(y.double() - exact).abs().max() for y in (ours, theirs)]
    assert ours.dtype == dtype
    assert errors[0] <= 2 * errors[1]


def test_swiglu_worked_by_hand():
    mlp = SwiGLU(LlamaConfig(**SHAPE))
    one = SwiGLU.__new__(SwiGLU)
    nn.Module.__init__(one)
    for name, number in (("gate", 2.0), ("up", 3.0), ("down", 0.5)):
        layer = nn.Linear(1, 1, bias=False)
        nn.init.constant_(layer.weight, number)
        setattr(one, f"{name}_proj", layer)
    # x = 1: silu(2) · 3 · 0.5 = 2/(1 + e⁻²) · 1.5 = 2.642391
    assert one(torch.ones(1)).item() == pytest.approx(2.642391, abs=1e-6)
    assert mlp(torch.zeros(2, 24)).abs().max() == 0  # a shut gate, no biases


def test_attention_equals_the_chapter_before_with_rope():
    torch.manual_seed(0)
    ours = Attention(LlamaConfig(**SHAPE | FAMILY["GQA"]), 0).double()
    plain = MultiHeadAttention(24, 6, kv_heads=2, bias=False).double()
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(2, LENGTH, 24).double()
    turn = Rotary(angles(torch.arange(LENGTH), 4, dtype=torch.float64))
    torch.testing.assert_close(
        ours(x, turn), plain(x, prepare=turn, causal=True)
    )


def test_grouped_heads_are_neighbours():
    model = tiny("GQA", num_hidden_layers=1)
    config = model.config
    whole = tiny("MHA", num_hidden_layers=1)
    whole.load_state_dict(spread(model.state_dict(), config))
    ids = some_ids()
    torch.testing.assert_close(whole(ids), model(ids))


def spread(weights, config):
    """Weights of MHA that does what a grouped model does."""
    times = config.num_attention_heads // config.num_key_value_heads

    def repeated(weight):
        heads = weight.unflatten(0, (-1, config.head_dim))
        return heads.repeat_interleave(times, 0).flatten(0, 1)

    shared = ("k_proj.weight", "v_proj.weight")
    return {
        name: repeated(w) if name.endswith(shared) else w
        for name, w in weights.items()
    }


@pytest.mark.parametrize("name", FAMILY)
def test_changing_the_future_changes_nothing(name):
    model, ids = tiny(name), some_ids()
    before = model(ids)
    for t in range(LENGTH - 1):
        changed = ids.clone()
        changed[:, t + 1 :] = (ids[:, t + 1 :] + 1) % VOCAB
        after = model(changed)
        torch.testing.assert_close(after[:, : t + 1], before[:, : t + 1])
        assert not torch.allclose(after[:, t + 1], before[:, t + 1])


def test_only_distances_count():
    model, ids = tiny(), some_ids()
    front = torch.zeros_like(ids[:, :5])
    mask = torch.cat([torch.zeros_like(front), torch.ones_like(ids)], 1) > 0
    moved = model(torch.cat([front, ids], 1), mask)[:, 5:]
    torch.testing.assert_close(moved, model(ids))

    class Later(Llama):
        def turn(self, positions, dtype):
            return super().turn(positions + 17, dtype)

    later = Later(model.config).double()
    later.load_state_dict(model.state_dict())
    torch.testing.assert_close(later(ids), model(ids))


def test_a_padded_row_has_the_logits_that_it_has_alone():
    model = tiny()
    prompts = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5]]
    ids, mask = left_padded(prompts, pad=7)
    logits = model(ids, mask)
    assert logits.isfinite().all()
    for row, prompt in zip(logits, prompts, strict=True):
        alone = model(torch.tensor([prompt]))[0]
        torch.testing.assert_close(row[-len(prompt) :], alone)
    together = generate(model, ids, 6, mask=mask, temperature=0)
    for row, prompt in zip(together, prompts, strict=True):
        alone = generate(model, torch.tensor([prompt]), 6, temperature=0)[0]
        assert torch.equal(row[-len(alone) :], alone)


class Kept:
    """The least that a past must be: a list of what came in."""

    def __init__(self):
        self.length, self.layers = 0, {}

    def extend(self, layer, key, value):
        if layer in self.layers:
            before = self.layers[layer]
            key, value = (
                torch.cat([a, b], -2)
                for a, b in zip(before, (key, value), strict=True)
            )
        self.layers[layer] = key, value
        return key, value


@pytest.mark.parametrize("sizes", [(9,), (4, 5), (8, 1), (1, 3, 1, 4)])
def test_read_in_pieces_with_a_past_the_logits_are_the_same(sizes):
    model, ids, past = tiny(), some_ids(), Kept()
    parts = []
    for piece in ids.split(sizes, dim=1):
        parts.append(model(piece, past=past))
        past.length += piece.shape[1]
    torch.testing.assert_close(torch.cat(parts, 1), model(ids))


def test_with_a_past_the_mask_covers_past_and_new():
    model, past = tiny(), Kept()
    ids, mask = left_padded([[3, 1, 4, 1, 5], [9, 2, 6], [5, 3, 5, 8]])
    model(ids[:, :3], mask[:, :3], past)
    past.length = 3
    last = model(ids[:, 3:], mask, past)
    torch.testing.assert_close(last, model(ids, mask)[:, 3:])
    with pytest.raises(ValueError, match="mask: got length 2, expected 5: th"):
        model(ids[:, 3:], mask[:, 3:], past)


def test_a_window_is_a_small_subclass():
    class Windowed(Llama):
        def reach(self, query, key, device):
            return sliding_window_mask(query, key, 3, device)

    model = Windowed(LlamaConfig(**SHAPE | {"num_hidden_layers": 1})).double()
    scatter(model)
    ids = some_ids()
    changed = ids.clone()
    changed[:, 2] = (ids[:, 2] + 1) % VOCAB
    before, after = model(ids), model(changed)
    torch.testing.assert_close(after[:, 5:], before[:, 5:])
    assert not torch.allclose(after[:, 4], before[:, 4])


def test_a_block_takes_another_norm_attention_or_mlp():
    class Doubled(SwiGLU):
        def forward(self, x):
            return 2 * super().forward(x)

    class Other(Block):
        feed_forward, norm = Doubled, nn.LayerNorm

    class Model(Llama):
        block = Other

    model = Model(LlamaConfig(**SHAPE))
    assert isinstance(model.model["layers"][0].mlp, Doubled)
    assert isinstance(model.model["norm"], nn.LayerNorm)


def test_the_first_loss_is_that_of_a_guess():
    torch.manual_seed(0)
    model, ids = Llama(LAPTOP), torch.randint(65, (8, 64))
    loss = F.cross_entropy(model(ids).flatten(0, 1), ids.flatten().roll(1))
    assert loss.item() == pytest.approx(math.log(65), abs=0.05)
    for name, p in model.named_parameters():
        if p.ndim == 1:
            assert (p == 1).all()
        else:
            assert p.std().item() == pytest.approx(0.02, rel=0.05), name


def test_positions_count_real_tokens():
    ids, mask = left_padded([[1, 2, 3], [4]])
    assert places(ids, 3, mask).tolist() == [[0, 1, 2], [0, 0, 0]]
    assert places(ids, 3, None).tolist() == [0, 1, 2]
    later = torch.ones(2, 5, dtype=torch.bool)
    later[1, :3] = False
    assert places(ids[:, :2], 5, later).tolist() == [[3, 4], [0, 1]]


REFUSED = {
    "ids: got 23 to 23, expected 0 to 22": dict(ids=torch.full((1, 2), 23)),
    "ids: got torch.float32, expected an integer dtype": dict(
        ids=torch.ones(1, 2)
    ),
    "ids: got shape (1, 0), expected no empty axis": dict(
        ids=torch.ones(1, 0, dtype=torch.int64)
    ),
    "ids: got 41 tokens with the past, expected at most max_position_embe": (
        dict(ids=torch.ones(1, 41, dtype=torch.int64))
    ),
    "mask: got length 2, expected 3": dict(
        ids=torch.ones(1, 3, dtype=torch.int64),
        mask=torch.ones(1, 2, dtype=torch.bool),
    ),
    "mask: got False behind True in row 0, expected padding on the left": (
        dict(
            ids=torch.ones(1, 3, dtype=torch.int64),
            mask=torch.tensor([[True, True, False]]),
        )
    ),
}


@pytest.mark.parametrize(("message", "arguments"), REFUSED.items())
def test_what_does_not_fit_is_refused_by_name(message, arguments):
    with pytest.raises(ValueError) as error:
        tiny()(**arguments)
    assert str(error.value).startswith(message)


def test_a_config_is_rebuilt_from_what_a_checkpoint_holds():
    for config in (LAPTOP, llama.LLAMA_3_1_405B):
        assert LlamaConfig(**asdict(config)) == config


def test_a_norm_has_its_weight_and_its_eps():
    norm = RMSNorm(5, eps=0.5)
    x = torch.randn(3, 5)
    torch.testing.assert_close(norm(x), F.rms_norm(x, (5,), eps=0.5))
