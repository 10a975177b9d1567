"""What the GPT chapter claims of the model, proved."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llmnotes.transformer.attention import attention
from llmnotes.transformer.gpt import (
    GPT,
    GPT1,
    GPT_1,
    GPT_2_LARGE,
    GPT_2_MEDIUM,
    GPT_2_SMALL,
    GPT_2_XL,
    MINIGPT,
    NANOGPT_CPU,
    Attention,
    Block,
    GPTConfig,
    gelu,
    parameters,
)
from llmnotes.transformer.gpt.model import places

TINY = GPTConfig(vocab_size=13, n_positions=11, n_embd=12, n_layer=2, n_head=3)
BATCH, LENGTH = 2, 7


def tiny(cls=GPT, seed=0, scale=5.0, **options):
    """A model whose weights are all random: a fresh one has zero biases."""
    torch.manual_seed(seed)
    model = cls(GPTConfig(**{**vars(TINY), **options})).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.02 * scale)
    return model


def some_ids(length=LENGTH, seed=1):
    torch.manual_seed(seed)
    return torch.randint(TINY.vocab_size, (BATCH, length))


PUBLISHED = [
    (GPT1, GPT_1, 116_534_784),
    (GPT, GPT_2_SMALL, 124_439_808),
    (GPT, GPT_2_MEDIUM, 354_823_168),
    (GPT, GPT_2_LARGE, 774_030_080),
    (GPT, GPT_2_XL, 1_557_611_200),
    (GPT, MINIGPT, 805_760),
    (GPT, NANOGPT_CPU, 809_856),
]


@pytest.mark.parametrize(("cls", "config", "count"), PUBLISHED)
def test_parameter_counts_are_exact(cls, config, count):
    with torch.device("meta"):  # shapes without numbers
        model = cls(config)
    assert parameters(model) == count


def test_the_count_follows_from_the_shape():
    c, layers = TINY.n_embd, TINY.n_layer
    block = 12 * c * c + 13 * c
    both = TINY.vocab_size + TINY.n_positions
    assert parameters(GPT(TINY)) == layers * block + both * c + 2 * c
    assert parameters(GPT1(TINY)) == layers * block + both * c


@pytest.mark.parametrize("cls", [GPT, GPT1])
def test_changing_the_future_changes_nothing(cls):
    model, ids = tiny(cls), some_ids()
    before = model(ids)
    for t in range(LENGTH - 1):
        changed = ids.clone()
        changed[:, t + 1 :] = (ids[:, t + 1 :] + 1) % TINY.vocab_size
        after = model(changed)
        torch.testing.assert_close(after[:, : t + 1], before[:, : t + 1])
        assert not torch.allclose(after[:, t + 1], before[:, t + 1])


def test_every_earlier_token_is_seen():
    model, ids = tiny(), some_ids()
    before = model(ids)[:, -1]
    for t in range(LENGTH):
        changed = ids.clone()
        changed[:, t] = (ids[:, t] + 1) % TINY.vocab_size
        assert not torch.allclose(model(changed)[:, -1], before)


def test_order_matters_because_positions_are_learned():
    model, ids = tiny(), some_ids()
    swapped = ids[:, [1, 0, *range(2, LENGTH)]]
    assert not torch.allclose(model(swapped)[:, -1], model(ids)[:, -1])
    with torch.no_grad():  # without them, the last token sees a set
        model.transformer.wpe.weight.zero_()
    one = GPTConfig(**{**vars(TINY), "n_layer": 1})
    flat = tiny(n_layer=one.n_layer)
    with torch.no_grad():
        flat.transformer.wpe.weight.zero_()
    torch.testing.assert_close(flat(swapped)[:, -1], flat(ids)[:, -1])


def test_attention_equals_the_chapter_before_and_its_weights_sum_values():
    torch.manual_seed(0)
    layer = Attention(TINY).double()
    for p in layer.parameters():
        nn.init.normal_(p)
    x = torch.randn(BATCH, LENGTH, TINY.n_embd, dtype=torch.float64)
    query, key, value = layer.split(x)
    out = attention(query, key, value, causal=True)
    torch.testing.assert_close(layer.weights(x) @ value, out)
    merged = out.transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(layer(x), layer.c_proj(merged))


def test_heads_are_the_columns_of_c_attn_in_order_query_key_value():
    torch.manual_seed(0)
    layer = Attention(TINY).double()
    for p in layer.parameters():
        nn.init.normal_(p)
    x = torch.randn(1, 3, TINY.n_embd, dtype=torch.float64)
    flat = x @ layer.c_attn.weight + layer.c_attn.bias
    c, width = TINY.n_embd, TINY.n_embd // TINY.n_head
    for part, got in enumerate(layer.split(x)):
        for head in range(TINY.n_head):
            at = part * c + head * width
            columns = flat[..., at : at + width]
            torch.testing.assert_close(got[:, head], columns)


def test_the_head_is_the_token_embedding():
    model, ids = tiny(), some_ids()
    assert not any("lm_head" in name for name in model.state_dict())
    with torch.no_grad():
        model.transformer.wte.weight[4] = 0
    assert (model(ids)[..., 4] == 0).all()


def test_a_fresh_model_predicts_nothing_in_particular():
    torch.manual_seed(0)
    model, ids = GPT(MINIGPT), torch.randint(65, (16, 32))
    loss = F.cross_entropy(model(ids).flatten(0, 1), ids.flatten().roll(1))
    assert loss.item() == pytest.approx(math.log(65), abs=0.05)


def test_residual_projections_start_smaller():
    torch.manual_seed(0)
    model = GPT(MINIGPT)
    assert 0.02 / math.sqrt(24) == pytest.approx(0.0040825, abs=1e-7)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            assert (p == 0).all()
        elif p.ndim == 1:
            assert (p == 1).all()
        else:
            small = name.endswith("c_proj.weight")
            std = 0.02 / math.sqrt(2 * 4) if small else 0.02
            assert p.std().item() == pytest.approx(std, rel=0.05)
            assert abs(p.mean().item()) < 0.1 * std


def test_gelu_is_the_tanh_one_and_differs_from_the_exact_by_under_5e_4():
    x = torch.linspace(-6, 6, 24001, dtype=torch.float64)
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    torch.testing.assert_close(gelu(x), x / 2 * (1 + u.tanh()))
    gap = (gelu(x) - F.gelu(x)).abs()
    assert gap.max().item() == pytest.approx(4.73e-4, abs=1e-6)
    assert x[gap.argmax()].abs().item() == pytest.approx(2.70, abs=0.01)


def test_blocks_read_normalised_and_add():
    torch.manual_seed(0)
    block = Block(TINY).double()
    for p in block.parameters():
        nn.init.normal_(p)
    x = torch.randn(BATCH, LENGTH, TINY.n_embd, dtype=torch.float64)

    def norm(y, layer):
        return F.layer_norm(y, (12,), layer.weight, layer.bias)

    half = x + block.attn(norm(x, block.ln_1))
    torch.testing.assert_close(
        block(x), half + block.mlp(norm(half, block.ln_2))
    )


def test_a_silent_mlp_leaves_what_attention_added():
    # A second residual taken from the layer's input would lose it.
    block = tiny().transformer.h[0]
    with torch.no_grad():
        block.mlp.c_proj.weight.zero_()
        block.mlp.c_proj.bias.zero_()
    x = torch.randn(BATCH, LENGTH, TINY.n_embd, dtype=torch.float64)
    torch.testing.assert_close(block(x), x + block.attn(block.ln_1(x)))
    assert not torch.allclose(block(x), x)


def test_dropout_acts_on_a_sublayers_output_not_inside_it():
    model = tiny(dropout=0.5)
    block = model.transformer.h[0].train()
    with torch.no_grad():
        block.attn.c_proj.weight.zero_()
        block.attn.c_proj.bias.zero_()
    x = torch.randn(BATCH, LENGTH, TINY.n_embd, dtype=torch.float64)
    added, clean = block(x) - x, block.mlp(block.ln_2(x))
    kept = added.abs() > 1e-12
    assert 0.2 < kept.double().mean() < 0.8
    torch.testing.assert_close(added[kept], 2 * clean[kept])
    block.eval()
    torch.testing.assert_close(block(x) - x, clean)


def test_gradients_agree_with_finite_differences():
    model, ids = tiny(n_layer=1), some_ids(3)
    weight = model.transformer.wpe.weight.detach().clone().requires_grad_()

    def run(wpe):
        return torch.func.functional_call(
            model, {"transformer.wpe.weight": wpe}, (ids,)
        )

    assert torch.autograd.gradcheck(run, (weight,), fast_mode=True)


def test_gpt_1_ends_in_a_norm_and_gpt_2_does_not_need_one_inside():
    x = tiny(GPT1).transformer.h[-1](
        10 * torch.randn(BATCH, LENGTH, TINY.n_embd, dtype=torch.float64)
    )
    norm = tiny(GPT1).transformer.h[-1].ln_2
    unit = (x - norm.bias) / norm.weight
    assert unit.mean(-1).abs().max() < 1e-9
    assert (unit.var(-1, correction=0) - 1).abs().max() < 1e-2


BAD_CONFIGS = {
    "vocab_size: got 0": {"vocab_size": 0},
    "n_positions: got -1": {"n_positions": -1},
    "n_head: got 5, expected a divisor of n_embd = 12": {"n_head": 5},
    "dropout: got 1.0": {"dropout": 1.0},
}


@pytest.mark.parametrize(("message", "change"), BAD_CONFIGS.items())
def test_configs_that_cannot_be_are_named(message, change):
    with pytest.raises(ValueError, match=f"^{message}"):
        GPTConfig(**{**vars(TINY), **change})


BAD_IDS = {
    "ids: got length 12, expected at most n_positions = 11": (1, 12),
    "ids: got shape (1, 0)": (1, 0),
    "ids: got shape (3,), expected (batch, length)": (3,),
}


@pytest.mark.parametrize(("message", "shape"), BAD_IDS.items())
def test_ids_that_do_not_fit_are_named(message, shape):
    with pytest.raises(ValueError) as error:
        GPT(TINY)(torch.zeros(shape, dtype=torch.long))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("cls", [GPT, GPT1])
@pytest.mark.parametrize("bad", [13, 99, -1, -13])
def test_ids_outside_the_vocabulary_are_named(cls, bad):
    ids = torch.tensor([[0, 12], [bad, 1]])
    low, high = min(bad, 0), max(bad, 12)
    message = f"^ids: got {low} to {high}, expected 0 to 12$"
    with pytest.raises(ValueError, match=message):
        cls(TINY)(ids)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_ids_nobody_can_look_at_are_not_asked():
    with torch.device("meta"):
        model, ids = GPT(TINY), torch.zeros(2, 3, dtype=torch.long)
        assert model(ids).shape == (2, 3, 13)
    model, ids = tiny(), some_ids()
    rows = torch.func.vmap(lambda row: model(row[None])[0])(ids)
    torch.testing.assert_close(rows, model(ids))


BAD_MASKS = {
    "mask: got torch.int64, expected bool": torch.ones(2, 3).long(),
    "mask: got length 2, expected ids' 3": torch.ones(2, 2).bool(),
    "mask: got batch 1, expected ids' 2": torch.ones(1, 3).bool(),
}


@pytest.mark.parametrize(("message", "mask"), BAD_MASKS.items())
def test_masks_that_do_not_fit_are_named(message, mask):
    with pytest.raises(ValueError) as error:
        GPT(TINY)(torch.zeros(2, 3, dtype=torch.long), mask)
    assert str(error.value) == message


def test_every_row_of_weights_sees_somebody_and_no_padding_but_itself():
    mask = torch.tensor([[False, False, True, True], [False] * 4])
    position, (visible,) = places(torch.zeros(2, 4).long(), mask)
    assert position.tolist() == [[0, 0, 0, 1], [0, 0, 0, 0]]
    rows = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    assert visible[0, 0].long().tolist() == rows
    assert torch.equal(visible[1, 0], torch.eye(4).bool())


def test_a_row_that_is_padding_throughout_stays_finite():
    mask = torch.tensor([[True, True, True], [False, False, False]])
    model, ids = tiny(), torch.zeros(2, 3, dtype=torch.long)
    out = model(ids, mask)
    grads = torch.autograd.grad(out[0].sum(), list(model.parameters()))
    assert out.isfinite().all() and all(g.isfinite().all() for g in grads)


def test_ids_that_are_not_integers_are_named():
    for ids in (torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool)):
        with pytest.raises(ValueError, match="^ids: got torch"):
            GPT(TINY)(ids)
