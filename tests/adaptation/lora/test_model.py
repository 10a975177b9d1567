"""LoRA, rsLoRA and DoRA beside one layer: peft's, by hand, refusals."""

import copy
import math

import jaxtyping
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llmnotes.adaptation.lora import (
    DoRA,
    LoRALinear,
    LowRank,
    RankStabilised,
)
from llmnotes.adaptation.lora.model import matrix
from llmnotes.transformer.gpt.model import Conv1D

KINDS = LowRank, RankStabilised, DoRA
INPUTS, OUTPUTS, RANK, ALPHA = 7, 11, 3, 5.0


def conv(inputs, outputs):
    layer = Conv1D(inputs, outputs)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer


BASES = {
    "Linear": nn.Linear,
    "Linear without bias": lambda i, o: nn.Linear(i, o, bias=False),
    "Conv1D": conv,
}


def layer_of(base="Linear", kind=LowRank, moved=True, dtype=torch.float64):
    """A layer whose adapter has learned something."""
    torch.manual_seed(0)
    layer = LoRALinear(
        BASES[base](INPUTS, OUTPUTS).to(dtype), RANK, ALPHA, kind
    )
    if moved:
        with torch.no_grad():
            for p in layer.adapters.parameters():
                p.add_(torch.randn_like(p) / 3)
    return layer


def x_of(dtype=torch.float64):
    torch.manual_seed(1)
    return torch.randn(2, 5, INPUTS, dtype=dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("base", BASES)
def test_at_the_start_the_layer_says_what_its_base_says(base, kind):
    layer = layer_of(base, kind, moved=False)
    torch.testing.assert_close(
        layer(x_of()), layer.base(x_of()), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("base", BASES)
def test_it_is_a_layer_with_another_weight(base):
    layer = layer_of(base)
    adapter = layer.adapters["default"]
    changed = matrix(layer.base) + ALPHA / RANK * adapter.B @ adapter.A
    expected = F.linear(x_of(), changed, layer.base.bias)
    torch.testing.assert_close(layer(x_of()), expected)


def test_a_number_by_hand():
    """W₀ = (1 2), A = (1 −1), B = 3, α/r = 2, x = (5, 1): 7 + 2·3·4."""
    layer = LoRALinear(nn.Linear(2, 1, bias=False), 1, 2)
    adapter = layer.adapters["default"]
    with torch.no_grad():
        layer.base.weight.copy_(torch.tensor([[1.0, 2.0]]))
        adapter.A.copy_(torch.tensor([[1.0, -1.0]]))
        adapter.B.fill_(3.0)
    x = torch.tensor([5.0, 1.0])
    assert layer(x).item() == 7 + 2 * 3 * 4
    layer.merge()
    assert layer.base.weight.tolist() == [[7.0, -4.0]]
    assert layer(x).item() == 31


def test_dora_by_hand():
    """W₀ = (3 4) has length 5; ΔW turns it to (0 4): 5·(0 1) is left."""
    layer = LoRALinear(nn.Linear(2, 1, bias=False), 1, 1, DoRA)
    with torch.no_grad():
        layer.base.weight.copy_(torch.tensor([[3.0, 4.0]]))
        adapter = layer.adapters["default"]
        adapter.m.fill_(5.0)
        adapter.A.copy_(torch.tensor([[-3.0, 0.0]]))
        adapter.B.fill_(1.0)
    assert layer(torch.tensor([7.0, 2.0])).item() == pytest.approx(10)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("kind", KINDS)
def test_merged_equals_unmerged_and_the_base_comes_back(kind, base):
    layer = layer_of(base, kind)
    before, weight = layer(x_of()), layer.base.weight.clone()
    layer.merge()
    torch.testing.assert_close(layer(x_of()), before)
    assert not torch.equal(layer.base.weight, weight)
    layer.unmerge()
    assert torch.equal(layer.base.weight, weight)
    assert torch.equal(layer(x_of()), before)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind):
    """DoRA's norm is held fixed, so it is checked against its own rule."""
    layer = layer_of(kind=kind)
    adapter = layer.adapters["default"]
    names = [n for n, _ in adapter.named_parameters()]
    fixed = {}
    if kind is DoRA:
        weight = matrix(layer.base)
        changed = weight + LowRank.delta(adapter, weight)
        fixed["norm"] = changed.norm(dim=1).detach()

    def out(*values):
        a = dict(zip(names, values, strict=True))
        weight = matrix(layer.base).detach()
        changed = weight + adapter.scaling * a["B"] @ a["A"]
        if fixed:
            changed = (a["m"] / fixed["norm"])[:, None] * changed
        return F.linear(x_of(), changed, layer.base.bias)

    values = [p.detach().clone().requires_grad_() for p in
              adapter.parameters()]  # fmt: skip
    assert torch.autograd.gradcheck(out, values)
    pull = torch.randn(2, 5, OUTPUTS, dtype=torch.float64)
    expected = torch.autograd.grad(out(*values), values, pull)
    given = torch.autograd.grad(layer(x_of()), adapter.parameters(), pull)
    for ours, theirs in zip(given, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_both_zero_is_stuck_for_ever():
    layer = layer_of(moved=False)
    adapter = layer.adapters["default"]
    nn.init.zeros_(adapter.A)
    layer(x_of()).square().sum().backward()
    assert not adapter.A.grad.any() and not adapter.B.grad.any()


def test_with_b_zero_only_b_moves_in_the_first_step():
    layer = layer_of(moved=False)
    adapter = layer.adapters["default"]
    layer(x_of()).square().sum().backward()
    assert not adapter.A.grad.any() and adapter.B.grad.any()


def test_a_begins_as_uniform_as_in_peft():
    torch.manual_seed(0)
    a = LowRank(nn.Linear(100, 90), 50, 1).A
    assert a.abs().max() <= 0.1
    assert a.std().item() == pytest.approx(0.1 / math.sqrt(3), rel=0.02)


def test_the_scaling_is_alpha_over_r_or_over_its_root():
    layer = nn.Linear(20, 20)
    assert LowRank(layer, 16, 8).scaling == 0.5
    assert RankStabilised(layer, 16, 8).scaling == 2.0


def test_after_a_step_frozen_weights_are_where_they_were():
    layer = layer_of(dtype=torch.float32)
    before = copy.deepcopy(layer.base.state_dict())
    optimizer = torch.optim.AdamW(
        [p for p in layer.parameters() if p.requires_grad], lr=0.1
    )
    layer(x_of(torch.float32)).square().sum().backward()
    optimizer.step()
    for name, tensor in layer.base.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert {n.split(".")[0] for n, p in layer.named_parameters()
            if p.requires_grad} == {"adapters"}  # fmt: skip


@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16))
def test_in_half_precision_the_adapter_is_float32_and_the_answer_is_not(dtype):
    layer = layer_of(dtype=dtype)
    assert layer.adapters["default"].A.dtype == torch.float32
    x = x_of(dtype)
    out = layer(x)
    assert out.dtype == dtype
    wide = layer_of().requires_grad_(False)
    wide.base.load_state_dict(layer.base.state_dict())
    wide.adapters.load_state_dict(layer.adapters.state_dict())
    exact = wide(x.double())
    eps = torch.finfo(dtype).eps
    assert (out - exact).abs().max() <= 2 * eps * exact.abs().max()


def test_several_adapters_add_up_and_each_can_stand_alone():
    layer, x = layer_of(), x_of()
    torch.manual_seed(5)
    other = LowRank(layer.base, 2, 1.0)
    nn.init.normal_(other.B)
    one = layer(x) - layer.base(x)
    layer.add("other", other)
    two = layer(x) - layer.base(x)
    layer.use(("default", "other"))
    torch.testing.assert_close(layer(x) - layer.base(x), one + two)
    layer.use(())
    assert torch.equal(layer(x), layer.base(x))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("base", ("Linear", "Conv1D"))
def test_the_mode_of_the_base_survives(base, kind):
    plain = BASES[base](INPUTS, OUTPUTS).eval()
    assert not LoRALinear(plain, RANK, ALPHA, kind).training


@pytest.fixture
def unwatched():
    """As readers call it: nobody enforces annotations."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class Container(nn.Module):
    """Sizes, and a layer inside; no weight of its own."""

    in_features, out_features = INPUTS, OUTPUTS

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(INPUTS, OUTPUTS)


@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(rank=0), "rank: got 0, expected at least 1"),
        (dict(rank=8), "rank: got 8, expected at most 7"),
        (dict(rank=True), "rank: got True, expected an integer"),
        (dict(alpha=0), "alpha: got 0, expected a number above 0"),
        (dict(alpha=math.nan), "alpha: got nan"),
        (dict(alpha=math.inf), "alpha: got inf"),
        (dict(alpha="2"), "alpha: got '2', expected a number above 0"),
        (dict(alpha=None), "alpha: got None"),
        (dict(alpha=True), "alpha: got True"),
        (dict(alpha=10**400), "alpha: got 1000.*, expected a number"),
        (dict(base=nn.Embedding(5, 7)), "base: got Embedding"),
        (dict(base=Container()), "base: got Container"),
        (dict(name="a.b"), "name: got 'a.b'"),
        (dict(name=""), "name: got ''"),
        (dict(name=3), "name: got 3"),
        (dict(name="keys"), "name: got 'keys', expected .* type or keys"),
        (dict(name="training"), "name: got 'training'"),
    ],
)
def test_what_cannot_be_is_refused_and_the_base_not_touched(change, message):
    base = change.get("base", nn.Linear(INPUTS, OUTPUTS))
    given = dict(base=base, rank=RANK, alpha=ALPHA) | change
    with pytest.raises(ValueError, match=message):
        LoRALinear(**given)
    assert all(p.requires_grad for p in base.parameters())


def test_dora_refuses_a_row_without_a_direction():
    base = nn.Linear(INPUTS, OUTPUTS)
    nn.init.zeros_(base.weight[2:4])
    with pytest.raises(ValueError, match="layer: got 2 rows of zeros"):
        LoRALinear(base, RANK, ALPHA, DoRA)


class Codes(nn.Linear):
    """A weight in whole numbers, as bitsandbytes' Linear8bitLt has it."""

    def __init__(self, shape=(OUTPUTS, INPUTS), dtype=torch.int8):
        super().__init__(INPUTS, OUTPUTS)
        codes = torch.ones(shape, dtype=dtype)
        self.weight = nn.Parameter(codes, requires_grad=False)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (Codes(), "base: got Codes, whose weight is torch.int8"),
        (
            Codes((77, 1), torch.float32),
            r"of shape \(77, 1\), expected floats",
        ),
    ],
)
def test_codes_are_not_merged_into_and_dora_asks_for_a_weight(base, message):
    layer, before = LoRALinear(base, 2, 2), base.weight.clone()
    assert layer.weight is base.weight
    with pytest.raises(ValueError, match=message):
        layer.merge()
    assert torch.equal(base.weight, before) and layer.original is None
    with pytest.raises(ValueError, match="layer: got Codes, whose weight"):
        LoRALinear(base, 2, 2, DoRA)


def test_what_becomes_infinite_in_half_precision_is_not_merged():
    layer = layer_of(dtype=torch.float16)
    with torch.no_grad():
        layer.adapters["default"].A.fill_(1e3)
        layer.adapters["default"].B.fill_(1e3)
    before = layer.base.weight.clone()
    with pytest.raises(ValueError, match="adapter: got NaN or infinity"):
        layer.merge()
    assert torch.equal(layer.base.weight, before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("base", BASES)
def test_who_reads_its_weight_reads_what_it_multiplies_by(base, kind):
    layer = layer_of(base, kind)
    assert (layer.in_features, layer.out_features) == (INPUTS, OUTPUTS)
    assert layer.bias is layer.base.bias
    assert layer.weight.dtype == layer.base.weight.dtype
    weight = layer.weight.T if base == "Conv1D" else layer.weight
    out = F.linear(x_of(), weight, layer.bias)
    torch.testing.assert_close(out, layer(x_of()))
    layer.merge()
    assert layer.weight is layer.base.weight


def test_an_adapted_layer_takes_no_second_one_around_it():
    with pytest.raises(ValueError, match="base: got LoRALinear"):
        LoRALinear(layer_of(), 2, 2)


@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize("names", [("default", "default"), ([1],), ("b",)])
def test_names_that_are_not_there_or_twice_are_refused(names):
    layer = layer_of()
    with pytest.raises(ValueError, match="name: got"):
        layer.use(names)
    assert layer.active == ("default",)


@pytest.mark.usefixtures("unwatched")
def test_numbers_of_numpy_become_plain_ones():
    adapter = LowRank(nn.Linear(5, 5), np.int64(2), np.float32(3))
    assert (type(adapter.rank), type(adapter.alpha)) == (int, float)


def test_merging_twice_is_refused_and_changes_nothing():
    layer = layer_of()
    layer.merge()
    weight = layer.base.weight.clone()
    for change in (
        layer.merge,
        lambda: layer.use(()),
        lambda: layer.add("b", LowRank(layer.base, 1, 1)),
    ):
        with pytest.raises(ValueError, match="merged already"):
            change()
    assert torch.equal(layer.base.weight, weight)
    layer.unmerge()
    with pytest.raises(ValueError, match="is not merged"):
        layer.unmerge()


def test_an_adapter_with_nan_is_not_merged():
    layer = layer_of()
    weight = layer.base.weight.clone()
    with torch.no_grad():
        layer.adapters["default"].B[1, 1] = np.nan
    with pytest.raises(ValueError, match="adapter: got NaN or infinity"):
        layer.merge()
    assert torch.equal(layer.base.weight, weight) and layer.original is None
