"""The fused operations against PyTorch's, forward and gradient."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

from llmnotes.transformer.attention import attention
from llmnotes.transformer.gpt import GPT, GPTConfig
from llmnotes.transformer.pretraining.recipe import (
    Recipe,
    RecipeConfig,
    shifted_norm,
)
from llmnotes.transformer.rope import angles, rotate
from llmnotes.transformer.training_step import fast, fused, fused_recipe
from llmnotes.transformer.training_step.fused_recipe import FusedRecipe


def same(ours, theirs, *inputs):
    """Outputs and gradients; theirs is computed in float64 by autograd.

    `ours` returns its output and a function from the output's gradient to
    the gradients of the inputs.
    """
    wide = [x.detach().double().requires_grad_() for x in inputs]
    (a, back), b = ours(*inputs), theirs(*wide)
    torch.testing.assert_close(a.double(), b, rtol=2e-5, atol=2e-5)
    upstream = torch.randn_like(a)
    for x, y in zip(
        back(upstream),
        torch.autograd.grad(b, wide, upstream.double()),
        strict=True,
    ):
        torch.testing.assert_close(x.double(), y, rtol=1e-4, atol=1e-4)


def random(*shape, seed=0):
    torch.manual_seed(seed)
    return torch.randn(*shape)


def bent(loop):
    def ours(x):
        y, slope = fused.bend(x, loop)
        return y, lambda grad: [grad * slope]

    return ours


def test_gelu_and_its_gradient():
    x = torch.cat([torch.linspace(-9, 9, 301), torch.tensor([-1e4, 1e4])])
    same(
        bent(fast.gelu_loop),
        lambda x: F.gelu(x, approximate="tanh"),
        x,
    )


def test_squared_relu_and_its_gradient():
    same(
        bent(fast.relu_squared_loop),
        lambda x: F.relu(x) ** 2,
        random(3, 5, 7),
    )


def shifted(x, mix):
    y, inv = fused_recipe.norm(x, mix)

    def back(dy):
        dx, dmix = fused_recipe.norm_gradient(dy, x, x.shape, mix, inv)
        return dx.view(x.shape), dmix

    return y, back


@pytest.mark.parametrize("length", [1, 2, 5])
def test_the_norm_mixes_in_the_row_before(length):
    same(shifted, shifted_norm, random(3, length, 7), random(7))


def test_the_row_before_never_comes_from_another_sequence():
    x = random(3, 5, 7)
    whole, _ = fused_recipe.norm(x, torch.ones(7))
    for b in range(3):
        alone, _ = fused_recipe.norm(x[b : b + 1], torch.ones(7))
        torch.testing.assert_close(whole[b : b + 1], alone)


def reference_attend(z, heads, turn, unit):
    split = "b t (three h d) -> three b h t d"
    query, key, value = rearrange(z, split, three=3, h=heads)
    if unit:
        query, key = (
            F.rms_norm(x, x.shape[-1:], eps=float(fast.EPS))
            for x in (query, key)
        )
    if turn is not None:
        query, key = (rotate(x, turn.double()) for x in (query, key))
    out = attention(query, key, value, causal=True)
    return rearrange(out, "b h t d -> b t (h d)")


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 3),
    st.integers(1, 19),
    st.integers(1, 3),
    st.sampled_from([2, 4, 6]),
    st.booleans(),
    st.booleans(),
)
def test_attend_equals_the_chapters_attention(
    batch, length, heads, width, unit, rope
):
    turn = angles(torch.arange(length), width) if rope else None
    waves = None
    if rope:
        waves = turn.cos().numpy(), turn.sin().numpy()

    def ours(z):
        out, kept = fused.attend(z, heads, waves, unit)
        return out, lambda grad: [
            fused.attend_gradient(grad, kept, heads, waves, unit)
        ]

    same(
        ours,
        lambda z: reference_attend(z, heads, turn, unit),
        random(batch, length, 3 * heads * width),
    )


def test_large_scores_stay_finite():
    out, kept = fused.attend(100 * random(1, 5, 12), 2)
    grad = fused.attend_gradient(torch.ones_like(out), kept, 2)
    assert out.isfinite().all() and grad.isfinite().all()


SHAPE = GPTConfig(23, n_positions=11, n_embd=12, n_layer=2, n_head=3)
RECIPE = RecipeConfig(23, 11, n_embd=12, n_layer=2, n_head=3, n_inner=20)
PAIRS = torch.arange(500) * 7 % 23


def twins(shape=SHAPE):
    """A model in plain PyTorch and its fused twin, random everywhere."""
    torch.manual_seed(0)
    if shape == RECIPE:
        plain, quick = Recipe(shape, PAIRS), FusedRecipe(shape, PAIRS)
    else:
        plain, quick = GPT(shape), fused.FusedGPT(shape)
    with torch.no_grad():
        for p in plain.parameters():
            p.add_(0.1 * torch.randn_like(p))
    quick.load_state_dict(plain.state_dict())
    return plain, quick, torch.randint(23, (3, 9))


@pytest.mark.parametrize("shape", [SHAPE, RECIPE])
def test_a_fused_model_is_the_same_model(shape):
    plain, quick, ids = twins(shape)
    assert plain.state_dict().keys() == quick.state_dict().keys()
    a, b = plain(ids), quick(ids)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    upstream = torch.randn_like(a)
    for x, y in zip(
        torch.autograd.grad(a, list(plain.parameters()), upstream),
        torch.autograd.grad(b, list(quick.parameters()), upstream),
        strict=True,
    ):
        torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [SHAPE, RECIPE])
def test_other_precisions_compute_as_the_plain_model(shape):
    plain, quick, ids = twins(shape)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(plain(ids), quick(ids))
    assert torch.equal(plain.double()(ids), quick.double()(ids))


def test_dropout_acts_as_in_the_plain_model():
    shape = dataclasses.replace(SHAPE, dropout=0.5)
    plain, quick, ids = twins(shape)
    out = []
    for model in (plain, quick):
        torch.manual_seed(1)
        out.append(model(ids))
    assert torch.equal(*out)
    assert not torch.allclose(out[0], plain.eval()(ids))
    torch.testing.assert_close(plain(ids), quick.eval()(ids))


def test_gradients_that_arrive_in_another_layout_are_understood():
    for shape in (SHAPE, RECIPE):
        plain, quick, _ = twins(shape)
        x, upstream = random(9, 3, 12), random(9, 3, 12, seed=1)
        out = []
        for model in (plain, quick):
            a = x.clone().requires_grad_()
            if shape == RECIPE:
                turn = model.turn(torch.zeros(1, 9))
                y = model.h[0](a.transpose(0, 1), turn)
            else:
                y = model.transformer.h[0](a.transpose(0, 1))
            out += torch.autograd.grad(y, a, upstream.transpose(0, 1))
        torch.testing.assert_close(*out, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [SHAPE, RECIPE])
def test_a_gradient_by_hand_refuses_to_be_differentiated_again(shape):
    quick = twins(shape)[1]
    out = quick(torch.tensor([[1, 4, 2], [3, 0, 4]])).sum()
    with pytest.raises(RuntimeError, match="^GPT: got create_graph"):
        torch.autograd.grad(out, list(quick.parameters()), create_graph=True)


class Adapter(nn.Module):
    """A layer and a small addition that is learned, as LoRA's is."""

    def __init__(self, inner, inputs):
        super().__init__()
        self.inner = inner
        self.more = nn.Linear(inputs, 1)

    def forward(self, *inputs):
        return self.inner(*inputs) + self.more(inputs[0]).sin()


class Louder(nn.Module):
    def forward(self, x):
        return 2 * x


def adapted(path, inputs=12):
    def change(block):
        parent, _, name = path.rpartition(".")
        parent = block.get_submodule(parent)
        torch.manual_seed(5)
        setattr(parent, name, Adapter(getattr(parent, name), inputs))

    return change


def louder(module, inputs, out):
    return 2 * out


def quieter(module, inputs):
    return (inputs[0] / 2,)


def turned(module, inputs, grads):
    return (-inputs[0],)


def with_hook(path, kind, hook):
    def change(block):
        getattr(block.get_submodule(path), f"register_{kind}")(hook)

    return change


def own_forward(block):
    layer = block.c_fc if hasattr(block, "c_fc") else block.mlp.c_fc
    layer.forward = lambda x, old=layer.forward: 2 * old(x)


def another_epsilon(block):
    block.ln_2.eps = 0.5


def without_bias(block):
    block.attn.c_attn.bias = None


def dropout_in_attention_only(block):
    block.attn.dropout = 0.5


def bias_that_was_not_there(block):
    block.c_fc.bias = nn.Parameter(torch.ones(20))


GPT_CHANGES = {
    "a hook on attn": with_hook("attn", "forward_hook", louder),
    "a hook before mlp": with_hook("mlp", "forward_pre_hook", quieter),
    "a hook on a gradient": with_hook("mlp", "full_backward_hook", turned),
    "an adapter around c_attn": adapted("attn.c_attn"),
    "an adapter around attn": adapted("attn"),
    "an adapter around c_proj": adapted("mlp.c_proj", 48),
    "another norm": lambda block: setattr(block, "ln_1", nn.RMSNorm(12)),
    "another dropout": lambda block: setattr(block, "drop", Louder()),
    "a parametrization": lambda block: parametrizations.weight_norm(
        block.mlp.c_fc
    ),
    "a forward of its own": own_forward,
    "another epsilon": another_epsilon,
    "no bias": without_bias,
    "dropout in attention only": dropout_in_attention_only,
}
RECIPE_CHANGES = {
    "a hook on c_proj": with_hook("c_proj", "forward_hook", louder),
    "a hook on a gradient": with_hook("c_fc", "full_backward_hook", turned),
    "an adapter around c_attn": adapted("c_attn"),
    "a parametrization": lambda block: parametrizations.weight_norm(
        block.c_out
    ),
    "a forward of its own": own_forward,
    "a bias": bias_that_was_not_there,
}
CASES = [(SHAPE, n, c) for n, c in GPT_CHANGES.items()]
CASES += [(RECIPE, n, c) for n, c in RECIPE_CHANGES.items()]


def blocks(model):
    return model.h if isinstance(model, Recipe) else model.transformer.h


@pytest.mark.parametrize(("shape", "name", "change"), CASES)
def test_what_somebody_changed_in_a_block_is_computed_as_changed(
    shape, name, change
):
    plain, quick, ids = twins(shape)
    untouched = plain(ids)
    found = []
    for model in (plain, quick):
        for block in blocks(model):
            change(block)
        torch.manual_seed(3)
        out = model(ids)
        grads = torch.autograd.grad(
            out.square().sum(), list(model.parameters())
        )
        found.append((out, *grads))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    if "gradient" not in name and "parametrization" not in name:
        assert not torch.allclose(found[0][0], untouched)


@pytest.mark.parametrize("shape", [SHAPE, RECIPE])
def test_whoever_listens_to_all_modules_hears_those_of_a_block(shape):
    _, quick, ids = twins(shape)
    heard = []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, *_: heard.append(module)
    )
    try:
        quick(ids)
    finally:
        handle.remove()
    assert set(blocks(quick)[0].children()) < set(heard)


def test_a_part_set_to_training_drops_out_within_a_resting_block():
    plain, quick, ids = twins(dataclasses.replace(SHAPE, dropout=0.5))
    found = []
    for model in (plain, quick):
        model.eval().transformer.h[0].attn.train()
        torch.manual_seed(1)
        found.append(model(ids))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found[0], plain.eval()(ids))


@pytest.mark.parametrize("shape", [SHAPE, RECIPE])
def test_torchs_function_transforms_go_the_plain_way(shape):
    found = []
    for model in twins(shape)[:2]:
        parameters = dict(model.named_parameters())

        def loss(p, model=model):
            ids = torch.tensor([[1, 4, 2]])
            return torch.func.functional_call(model, p, (ids,)).square().sum()

        found.append(torch.func.grad(loss)(parameters))
    for a, b in zip(*(f.values() for f in found), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_padding_goes_the_plain_way():
    plain, quick, ids = twins()
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, :4] = False
    assert torch.equal(plain(ids, mask), quick(ids, mask))
