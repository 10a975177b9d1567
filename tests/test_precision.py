"""What is computed by hand gives the same under autocast, there and back."""

import importlib
import itertools
import pkgutil
from dataclasses import replace

import pytest
import torch
from torch import nn

import llmnotes
from llmnotes.checks import checked
from llmnotes.kernels.flash_attention import cpu, reference
from llmnotes.precision import as_written, autocasts, wide
from llmnotes.sequence.gru import (
    GRU,
    MinGRU,
    ResetBeforeGRU,
    gru_step,
    gru_step_reset_before,
)
from llmnotes.sequence.lstm import LSTM, LSTM1997
from llmnotes.sequence.lstm.by_hand import ByHandLSTM, FusedLSTM
from llmnotes.sequence.rnn import RNN, ReluRNN
from llmnotes.train import train
from llmnotes.transformer.gpt import GPTConfig
from llmnotes.transformer.training_step import FusedGPT
from tests.tiny_run import CONFIG, VOCAB, texts

LAYERS = [RNN, ReluRNN, GRU, ResetBeforeGRU, LSTM, LSTM1997]
LAYERS += [ByHandLSTM, FusedLSTM]
WAYS = [(True, True), (True, False), (False, True)]


def low(enabled=True):
    return torch.autocast("cpu", torch.bfloat16, enabled=enabled)


def answers(run, inputs, there=False, back=False):
    """Outputs and gradients, each way with or without autocast."""
    with low(there):
        out = run(*inputs)
    out = [out] if isinstance(out, torch.Tensor) else flat(out)
    with low(back):
        loss = sum(o.double().pow(3).sum() for o in out)
        wanted = [x for x in inputs if x.requires_grad]
        return [*out, *torch.autograd.grad(loss, wanted)]


def flat(out):
    out, state = out
    return [out, *(state if isinstance(state, tuple) else [state])]


def layer(kind, **options):
    """A layer as a function of its input and its weights."""
    torch.manual_seed(0)
    model = kind(5, 7, 2, bidirectional=True)
    names, weights = zip(*model.named_parameters(), strict=True)

    def run(x, *weights):
        given = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(model, given, (x,), options)

    return run, [torch.randn(3, 6, 5, requires_grad=True), *weights]


def assert_near(got, expected, share=0.02):
    """Within 2 % of the whole tensor's size: what 16 bits may do."""
    for g, e in zip(got, expected, strict=True):
        assert (g.double() - e.double()).norm() <= share * e.double().norm()


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_gives_the_same_under_autocast(kind):
    for options in ({}, {"lengths": [2, 6, 1]}):
        run, inputs = layer(kind, **options)
        expected = answers(run, inputs)
        torch.testing.assert_close(answers(run, inputs, True), expected)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_way_back_that_is_under_autocast_is_right_too(kind, there):
    """PyTorch's own products there run in 16 bits, ours do not."""
    run, inputs = layer(kind)
    got = answers(run, inputs, there, back=True)
    assert_near(got, answers(run, inputs))


@pytest.mark.parametrize("kind", LAYERS)
def test_what_comes_in_16_bits_leaves_in_16_bits(kind):
    """A linear layer under autocast puts out bfloat16."""
    run, (x, *weights) = layer(kind)
    x = x.detach().bfloat16().requires_grad_()
    got = answers(run, [x, *weights], there=True)
    expected = answers(run, [x.detach().float().requires_grad_(), *weights])
    states = 2 if issubclass(kind, (LSTM, LSTM1997)) else 1
    assert [g.dtype for g in got] == (
        [torch.bfloat16] * (2 + states) + [torch.float32] * len(weights)
    )
    assert_near(got, expected)


def test_under_autocast_a_gru_equals_torchs_to_16_bits():
    run, (x, *weights) = layer(GRU)
    theirs = nn.GRU(5, 7, 2, bidirectional=True, batch_first=True)
    with torch.no_grad():
        for p, weight in zip(theirs.parameters(), weights, strict=True):
            p.copy_(weight)
    with low():
        (ours, state), (out, theirs_state) = run(x, *weights), theirs(x)
    assert ours.dtype == out.dtype and state.dtype == theirs_state.dtype
    torch.testing.assert_close(ours, out, rtol=0.02, atol=0.01)


@pytest.mark.parametrize("step", [gru_step, gru_step_reset_before])
def test_a_step_of_its_own_runs_under_autocast(step):
    torch.manual_seed(0)
    projected, h = torch.randn(3, 12), torch.randn(3, 4)
    weights = torch.randn(12, 4), torch.randn(12)
    expected = step(projected, h, *weights)
    for given in (projected, projected.bfloat16()):
        with low():
            got = step(given, h, *weights)
        torch.testing.assert_close(got, expected, rtol=0.02, atol=0.02)


def test_a_gate_that_keeps_almost_all_still_forgets_in_16_bits():
    """0.999 rounds to 1 in bfloat16; over 1,000 steps it is 0.37."""
    model = MinGRU(1, 1)
    rows = {"weight": [[-7.0], [0.0]], "bias": [0.0, 0.0]}
    model.layers[0].load_state_dict(
        {name: torch.tensor(p) for name, p in rows.items()}
    )
    keep = 1 - torch.sigmoid(torch.tensor(-7.0)).item()
    x = torch.ones(1, 1001, 1)
    model.layers[0].bias.data[1] = 1.0  # every step asks for 1
    with low():
        out, _ = model(x)
    assert out[0, -1, 0].item() == pytest.approx(1 - keep**1001, rel=0.02)


@pytest.mark.parametrize(("there", "back"), WAYS)
@pytest.mark.parametrize("module", [reference, cpu])
def test_flash_attention_gives_the_same_under_autocast(module, there, back):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 70, 16).requires_grad_().unbind()
    inputs = [x.detach().requires_grad_() for x in (q, k, v)]
    expected = answers(module.flash_attention, inputs)
    got = answers(module.flash_attention, inputs, there, back)
    assert got[0].dtype == (torch.bfloat16 if there else torch.float32)
    if not there:  # then the output is rounded, as that of torch's kernel
        torch.testing.assert_close(got, expected)
    assert_near(got, expected)


def test_a_fused_gpt_walks_back_the_same_under_autocast():
    torch.manual_seed(0)
    shape = GPTConfig(VOCAB, 6, 8, 1, 2, dropout=0.0)
    model, ids = FusedGPT(shape), torch.arange(6)[None]
    found = []
    for back in (False, True):
        model.zero_grad()
        with low(back), torch.autocast("cpu", enabled=False):
            loss = model(ids).square().sum()
        with low(back):
            loss.backward()
        found.append([p.grad for p in model.transformer["h"].parameters()])
    torch.testing.assert_close(found[0], found[1], rtol=0.02, atol=0.02)


def test_every_gradient_by_hand_in_the_package_says_so():
    """A function that is added later must not forget autocast."""
    for info in pkgutil.walk_packages(llmnotes.__path__, "llmnotes."):
        if not info.name.endswith("__main__"):
            importlib.import_module(info.name)
    kinds = [torch.autograd.Function]
    for kind in kinds:
        kinds += kind.__subclasses__()
    ours = [k for k in kinds if k.__module__.startswith("llmnotes.")]
    assert len(ours) >= 8
    for kind, way in itertools.product(ours, ("forward", "backward")):
        named = getattr(kind, way).__code__.co_qualname
        inner = getattr(getattr(kind, way), "__wrapped__", None)
        assert inner or "without_autocast" in named, (kind, way)


class Language(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, 8)
        self.into = nn.Linear(8, 8)  # in 16 bits under autocast
        self.layer = kind(8, 8)
        self.head = nn.Linear(8, VOCAB)

    def forward(self, ids):
        return self.head(self.layer(self.into(self.embedding(ids)))[0])


@pytest.mark.parametrize("kind", [RNN, GRU, MinGRU, ByHandLSTM, FusedLSTM])
def test_mixed_precision_trains_a_recurrent_network(kind):
    losses = []
    for dtype in ("float32", "bfloat16"):
        torch.manual_seed(0)
        config = replace(CONFIG, steps=40, dtype=dtype, eval_every=20)
        history = train(Language(kind), *texts(), config, progress=False)
        losses.append([point.validation_loss for point in history])
    assert losses[0][-1] < losses[0][0]
    torch.testing.assert_close(losses[1], losses[0], rtol=0.02, atol=0)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_wide_is_float32_or_finer(given, found):
    assert wide(torch.zeros(3, dtype=given)).dtype == found


def test_nothing_that_is_wide_enough_is_copied():
    x = torch.zeros(3)
    assert wide(x) is x


def test_autocast_takes_all_but_float64():
    x = torch.zeros(3)
    assert not autocasts(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert autocasts(x) and autocasts(x.half())
        assert not autocasts(x.double()) and not autocasts(x.to("meta"))


def test_inside_products_are_not_cast_and_the_results_type_is_known():
    x = torch.randn(2, 2)
    with as_written(x) as dtype:
        assert dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with as_written(x) as dtype:
            assert (x @ x).dtype == torch.float32
        assert dtype == torch.bfloat16
        assert torch.is_autocast_enabled("cpu")


def test_types_that_autocast_makes_equal_are_equal_to_a_check():
    from jaxtyping import Float
    from torch import Tensor

    @checked
    def both(x: Float[Tensor, "n"], y: Float[Tensor, "n"]):
        return x, y

    x = torch.zeros(3)
    with pytest.raises(ValueError, match="^y: got dtype torch.bfloat16"):
        both(x, x.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        both(x, x.bfloat16())
        with pytest.raises(ValueError, match="^y: got dtype torch.float64"):
            both(x, x.double())
