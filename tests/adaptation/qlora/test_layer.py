"""A layer in 4 bits: peft with bitsandbytes, what is kept, what is refused."""

import copy
import gc

import bitsandbytes as bnb
import peft
import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from torch import nn

from llmnotes.adaptation.lora import (
    DoRA,
    LoRALinear,
    LowRank,
    adapted,
    add_lora,
    load_adapter,
)
from llmnotes.adaptation.qlora import NF4Linear, to_nf4
from llmnotes.adaptation.qlora.layer import Product
from llmnotes.models.moe import Mixtral, MixtralConfig
from llmnotes.parallel.data_parallel import Living
from llmnotes.transformer.gpt import GPT, GPTConfig

IDS = torch.tensor([[1, 5, 12, 3, 3], [0, 7, 7, 2, 11]])
TARGETS = ["q_proj", "down_proj"]
SHAPE = dict(
    vocab_size=13, hidden_size=64, intermediate_size=128,
    num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=9,
    bos_token_id=None, eos_token_id=None, pad_token_id=None,
)  # fmt: skip


def plain():
    torch.manual_seed(0)
    config = hf.LlamaConfig(**SHAPE)
    return hf.AutoModelForCausalLM.from_config(config).eval()


def in_theirs(model):
    """The same model with bitsandbytes' layers, quantized on the CPU."""
    for path, layer in list(model.named_modules()):
        if path.split(".")[-1] in TARGETS:
            other = bnb.nn.Linear4bit(
                layer.in_features, layer.out_features, bias=False,
                quant_type="nf4", compress_statistics=True,
                compute_dtype=torch.float32,
            )  # fmt: skip
            other.weight = bnb.nn.Params4bit(
                layer.weight.data, requires_grad=False, quant_type="nf4",
                compress_statistics=True,
            )  # fmt: skip
            model.set_submodule(path, other.to("cpu"))
    model.is_loaded_in_4bit = True
    return model


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """peft over bitsandbytes, and ours with the adapter that it wrote."""
    theirs = peft.get_peft_model(
        in_theirs(plain()),
        peft.LoraConfig(r=3, lora_alpha=5, target_modules=TARGETS),
    ).train()  # or bitsandbytes rounds, see below; there is no dropout
    torch.manual_seed(1)
    with torch.no_grad():
        for p in theirs.parameters():
            if p.requires_grad:
                p.add_(torch.randn_like(p) / 3)
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, load_adapter(to_nf4(plain(), TARGETS), folder)


def test_bitsandbytes_rounds_to_bfloat16_where_the_processor_can(pair):
    layer = copy.deepcopy(pair[0].base_model.model.model.layers[0])
    layer = layer.mlp.down_proj.base_layer
    x = torch.randn(3, 128)
    exact = layer.train()(x)
    rough = (layer.eval()(x) - exact).abs().max() / exact.abs().max()
    can = bnb.backends.cpu.ops.has_avx512bf16()
    assert 1e-4 < rough < 1e-2 if can else rough == 0


def test_training_an_adapter_is_that_of_peft_and_bitsandbytes(pair):
    theirs, ours = pair
    for model in pair:
        model.zero_grad()
        model(IDS, labels=IDS).loss.backward()
    torch.testing.assert_close(
        ours(IDS).logits, theirs(IDS).logits, rtol=0, atol=2e-6
    )
    grads = [
        sorted(
            (p.grad for p in model.parameters() if p.requires_grad),
            key=lambda g: (g.shape, g.abs().sum()),
        )
        for model in pair
    ]
    assert len(grads[0]) == len(grads[1]) == 8
    for one, two in zip(*grads, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=2e-6)


def layer_of(inputs=64, outputs=96, bias=True):
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs, bias=bias)


@pytest.mark.parametrize("bias", (True, False))
def test_it_is_a_linear_layer_with_the_weight_of_its_codes(bias):
    layer = NF4Linear(layer_of(bias=bias))
    x = torch.randn(2, 5, 64, requires_grad=True)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))
    pull = torch.randn(2, 5, 96)
    (given,) = torch.autograd.grad(layer(x), x, pull)
    torch.testing.assert_close(given, pull @ layer.weight)


def test_the_gradient_is_that_of_finite_differences():
    layer = NF4Linear(layer_of())
    x = torch.randn(2, 64, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: Product.apply(x, layer), x)


def test_gpt_2_s_layer_is_turned_round():
    torch.manual_seed(0)
    model = GPT(GPTConfig(13, 9, 64, 1, 4)).eval()
    layer = model.transformer["h"][0].attn.c_attn
    found = NF4Linear(layer)
    assert (found.in_features, found.out_features) == (64, 192)
    gap = (found.weight - layer.weight.T).norm() / layer.weight.norm()
    assert 0.05 < gap < 0.12


def test_what_is_kept_for_the_way_back_is_codes():
    """A product of PyTorch's would keep the weights, 4 bytes a number."""
    kept = {}
    for name, product in (
        ("ours", lambda x, layer: layer(x)),
        ("PyTorch's", lambda x, layer: F.linear(x, layer.weight)),
    ):
        layers = [NF4Linear(layer_of(128, 128, bias=False)) for _ in range(6)]
        x = torch.randn(3, 128, requires_grad=True)
        gc.collect()
        with Living() as live:
            for layer in layers:
                x = product(x, layer)
            kept[name] = live.bytes
    assert kept["PyTorch's"] - kept["ours"] >= 6 * 4 * 128 * 128


@pytest.mark.parametrize("kind", (LowRank, DoRA))
def test_an_adapter_learns_beside_it_and_the_codes_do_not_move(kind):
    layer = LoRALinear(NF4Linear(layer_of()), 3, 5.0, kind)
    before = {n: b.clone() for n, b in layer.base.named_buffers()}
    x = torch.randn(4, 64)
    torch.testing.assert_close(layer(x), layer.base(x))
    optimizer = torch.optim.AdamW(layer.adapters.parameters(), lr=0.1)
    layer(x).square().sum().backward()
    optimizer.step()
    assert not torch.allclose(layer(x), layer.base(x))
    assert all(torch.equal(b, before[n])
               for n, b in layer.base.named_buffers())  # fmt: skip


def test_half_leaves_the_scales_alone():
    layer = NF4Linear(layer_of())
    weight = layer.weight
    layer.half()
    assert torch.equal(layer.weight, weight)
    x = torch.randn(4, 64, dtype=torch.float16)
    assert layer(x).dtype == torch.float16


def test_autocast_multiplies_in_bfloat16_and_hands_gradients_back():
    layer = LoRALinear(NF4Linear(layer_of()), 3, 5.0)
    x = torch.randn(4, 64, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    out.float().square().sum().backward()
    assert x.grad.dtype == torch.float32
    assert layer.adapters["default"].B.grad.dtype == torch.float32


def test_the_state_is_the_codes_and_comes_back():
    model = to_nf4(plain(), TARGETS)
    other = to_nf4(hf.AutoModelForCausalLM.from_config(
        hf.LlamaConfig(**SHAPE)), TARGETS)  # fmt: skip
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(IDS).logits, other.eval()(IDS).logits)


def spoiled():
    model = plain()
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[3, 3] = float("inf")
    return model


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GPT(GPTConfig(13, 9, 12, 2, 3)), "has 432 weights, expected"),
        (spoiled, "down_proj has NaN or infinity"),
        (lambda: add_lora(plain(), 2, 2), "is LoRALinear, expected a plain"),
        (lambda: to_nf4(plain()), "is NF4Linear, expected a plain layer"),
        (lambda: nn.LayerNorm(3), "no linear layer below it"),
    ],
)
def test_what_cannot_be_is_refused_and_the_model_not_touched(build, message):
    model = build()
    before = [type(m) for m in model.modules()]
    with pytest.raises(ValueError, match=message):
        to_nf4(model)
    assert [type(m) for m in model.modules()] == before


def test_codes_cannot_be_merged_into():
    model = add_lora(to_nf4(plain(), TARGETS), 2, 2, TARGETS)
    layer = next(iter(adapted(model).values()))
    with pytest.raises(ValueError, match="base: got NF4Linear, whose weight"):
        layer.merge()


def test_a_mixtures_router_is_not_quantized():
    config = MixtralConfig(
        vocab_size=13, hidden_size=64, intermediate_size=64,
        num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=4,
        max_position_embeddings=9, num_local_experts=3,
    )  # fmt: skip
    model = to_nf4(Mixtral(config))
    gate = model.model.layers[0].mlp.gate
    assert isinstance(gate.weight, nn.Parameter)
    assert model(IDS).isfinite().all()
    with pytest.raises(ValueError, match="targets: got 'gate', which match"):
        to_nf4(Mixtral(config), "gate")


@pytest.mark.parametrize("kind", [LowRank, DoRA])
def test_beside_their_codes_dora_is_refused_and_nothing_is_merged(kind):
    layer = in_theirs(plain()).model.layers[0].self_attn.q_proj
    if kind is DoRA:
        with pytest.raises(ValueError, match="layer: got Linear4bit, whose"):
            LoRALinear(layer, 2, 2, kind)
        return
    before = layer.weight.clone()
    with pytest.raises(ValueError, match="base: got Linear4bit, whose"):
        LoRALinear(layer, 2, 2, kind).merge()
    assert torch.equal(layer.weight, before)
