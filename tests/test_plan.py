"""What `llmnotes plan` says: each number beside a count or the paper's."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from llmnotes.__main__ import main
from llmnotes.models import llama, mistral
from llmnotes.options import PLANNED
from llmnotes.parallel.gradient_checkpointing import Saved
from llmnotes.plan import (
    SHAPES,
    Layout,
    Shape,
    divisors,
    holding,
    layouts,
    operations,
    plan,
    plans,
    weights,
)
from llmnotes.transformer import gpt

EIGHT = SHAPES["llama-3-8b"]
BUILT = {
    "gpt-2": (gpt.GPT, gpt.GPT_2_SMALL),
    "gpt-2-xl": (gpt.GPT, gpt.GPT_2_XL),
    "gpt-3": (gpt.GPT, gpt.GPTConfig(50257, 2048, 12288, 96, 96)),
    "llama-2-7b": (llama.Llama, llama.LLAMA_2_7B),
    "llama-2-70b": (llama.Llama, llama.LLAMA_2_70B),
    "llama-3-8b": (llama.Llama, llama.LLAMA_3_8B),
    "llama-3-70b": (llama.Llama, llama.LLAMA_3_70B),
    "llama-3.1-405b": (llama.Llama, llama.LLAMA_3_1_405B),
    "mistral-7b": (mistral.Mistral, mistral.MISTRAL_7B_V0_1),
}


@pytest.mark.parametrize("name", SHAPES)
def test_parameters_are_those_of_the_model_itself(name):
    build, config = BUILT[name]
    with torch.device("meta"):
        model = build(config)
    count = sum(p.numel() for p in model.parameters())
    assert SHAPES[name].parameters == count


def test_the_command_line_knows_the_same_models():
    assert tuple(SHAPES) == PLANNED


def test_by_hand_llama_3_8b_on_eight_gpus():
    """ZeRO-1, -2 and -3: 44.17, 30.11 and 16.06 GB; 44.0 GB of activations."""
    for stage, states in ((0, 128.48), (1, 44.17), (2, 30.11), (3, 16.06)):
        found = plan(EIGHT, Layout(8, 1, 1, stage, False), 8, 8192)
        assert found.states / 1e9 == pytest.approx(states, abs=0.01)
        assert found.activations / 1e9 == pytest.approx(44.0, abs=0.1)
        assert found.logits / 1e9 == pytest.approx(6.30, abs=0.01)
        sent = 42.2 if stage == 3 else 28.1
        assert found.traffic["data"] / 1e9 == pytest.approx(sent, abs=0.1)
    found = plan(EIGHT, Layout(1, 8, 1, 0, False), 1, 8192)
    assert found.traffic["tensor"] / 1e9 == pytest.approx(15.0, abs=0.1)
    found = plan(EIGHT, Layout(1, 1, 2, 0, False), 1, 8192)
    assert found.traffic["stages"] == 8192 * 4096 * 2


class Block(nn.Module):
    """A layer with the library's attention; gated or not."""

    def __init__(self, h, heads, kv, f, gated):
        super().__init__()
        self.heads, self.kv, self.gated = heads, kv, gated
        self.norms = nn.ModuleList(nn.LayerNorm(h) for _ in range(2))
        self.qkv = nn.Linear(h, h + 2 * h * kv // heads)
        self.out = nn.Linear(h, h)
        self.up = nn.Linear(h, f)
        self.gate = nn.Linear(h, f) if gated else None
        self.down = nn.Linear(f, h)

    def forward(self, x):
        b, s, h = x.shape
        d = h // self.heads
        qkv = self.qkv(self.norms[0](x)).view(b, s, -1, d).transpose(1, 2)
        q, k, v = qkv.split([self.heads, self.kv, self.kv], 1)
        found = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, enable_gqa=True
        )
        x = x + self.out(found.transpose(1, 2).reshape(b, s, h))
        y = self.norms[1](x)
        if self.gated:
            return x + self.down(F.silu(self.gate(y)) * self.up(y))
        return x + self.down(F.gelu(self.up(y), approximate="tanh"))


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("kv", [3, 6])
def test_activations_are_those_that_a_layer_keeps(gated, kv):
    """In float32, so twice; statistics of norms and softmax come on top."""
    h, heads, f, batch, length = 24, 6, 40, 2, 5
    shape = Shape(1, h, heads, kv, f, 11, gated=gated)
    block = Block(h, heads, kv, f, gated)
    x = torch.randn(batch, length, h, requires_grad=True)
    with Saved(block.parameters()) as saved:
        block(x)
    count = saved.bytes
    statistics = batch * length * 4 * (2 * 2 + heads)
    assert count - statistics == 2 * shape.kept * batch * length


def test_stages_and_tensor_ranks_share_out_all_weights():
    for layout in (Layout(1, 2, 4, 0, False), Layout(1, 1, 3, 0, False)):
        held = sum(
            weights(EIGHT, layout, stage) for stage in range(layout.stages)
        )
        twice = (layout.tensor - 1) * EIGHT.layers * EIGHT.norms
        whole = layout.tensor * held - twice
        assert whole == pytest.approx(EIGHT.parameters, abs=EIGHT.hidden)


def test_the_last_stage_holds_a_copy_of_a_tied_table():
    shape, layout = SHAPES["gpt-2"], Layout(1, 1, 4, 0, False)
    held = sum(weights(shape, layout, stage) for stage in range(4))
    assert held == shape.parameters + 50257 * 768


def test_the_first_stage_holds_more_micro_batches_than_the_last():
    layout = Layout(1, 1, 4, 0, False)
    first, last = (holding(EIGHT, layout, 8, 512, s) for s in (0, 3))
    assert first[2] == 4 * last[2] and first[3] == 0 < last[3]


def test_computed_again_a_layer_keeps_its_input():
    kept = plan(EIGHT, Layout(1, 1, 1, 0, True), 1, 8192)
    one = float(EIGHT.kept) * 8192
    inputs = 32 * 2 * 8192 * 4096
    assert kept.activations == inputs + one
    plain = plan(EIGHT, Layout(1, 1, 1, 0, False), 1, 8192)
    ratio = plain.tokens_per_day / kept.tokens_per_day
    assert ratio == pytest.approx(4 / 3)


def test_layers_computed_again_are_summed_again_and_the_middle_sends_most():
    plain, again = (
        plan(EIGHT, Layout(1, 4, 1, 0, r), 8, 512).traffic["tensor"]
        for r in (False, True)
    )
    assert again == 1.5 * plain  # 12bsh(t − 1)/t in place of 8
    two, four = (
        plan(EIGHT, Layout(1, 1, p, 0, False), 8, 512).traffic["stages"]
        for p in (2, 4)
    )
    assert four == 2 * two == 8 * 2 * 512 * 4096 * 2


def test_waiting_slows_down_by_the_bubble():
    alone = plan(EIGHT, Layout(4, 1, 1, 0, False), 16, 512)
    piped = plan(EIGHT, Layout(1, 1, 4, 0, False), 16, 512)
    assert float(piped.bubble) == 3 / 16
    ratio = alone.tokens_per_day / piped.tokens_per_day
    assert ratio == pytest.approx(1 + 3 / 16)


def test_operations_are_what_pytorch_counts():
    config = gpt.GPTConfig(13, 16, n_embd=24, n_layer=2, n_head=3)
    shape = Shape(2, 24, 3, 3, 96, 13, 16, gated=False, tied=True)
    model = gpt.GPT(config)
    # Attention in one operation is not counted on a CPU, products are.
    with (
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        model(torch.zeros(1, 16, dtype=torch.int64)).sum().backward()
    bare = shape.layers * (shape.block - shape.norms - 9 * 24)
    weights_ = 6 * (bare + 13 * 24)
    attention = 12 * 2 * 24 * 16  # both halves: nothing skips the hidden one
    assert counter.get_total_flops() == 16 * (weights_ + attention)
    ours = operations(shape, 16) + attention / 2
    vectors = 6 * shape.layers * (shape.norms + 9 * 24)  # taken for matrices
    assert ours == weights_ + attention + vectors


def test_every_layout_uses_all_gpus_and_the_quickest_is_first():
    for layout in layouts(12):
        assert layout.data * layout.tensor * layout.stages == 12
    found = plans(EIGHT, 8, 64, 8192)
    days = [round(one.tokens_per_day, -6) for one in found]
    assert days == sorted(days, reverse=True)
    assert divisors(12) == [1, 2, 3, 4, 6, 12]


@pytest.mark.parametrize(
    "layout, batch, said",
    [
        (Layout(3, 1, 1, 0, False), 8, "batch: got 8, expected a multiple"),
        (Layout(1, 3, 1, 0, False), 8, "tensor: got 3, expected a divisor"),
        (Layout(1, 1, 33, 0, False), 8, "stages: got 33, expected 1 to 32"),
    ],
)
def test_layouts_that_cannot_be_are_refused(layout, batch, said):
    with pytest.raises(ValueError, match=said):
        plan(EIGHT, layout, batch, 512)


@pytest.mark.parametrize(
    "words, said",
    [
        (dict(gpus=0, batch=1, length=1), "gpus: got 0"),
        (dict(gpus=8, batch=0, length=1), "batch: got 0"),
        (dict(gpus=7, batch=3, length=1), "batch: got 3 for 7 GPUs"),
    ],
)
def test_questions_without_an_answer_are_refused(words, said):
    tiny = Shape(1, 8, 2, 2, 16, 11)
    with pytest.raises(ValueError, match=said):
        plans(tiny, **words)


COMMAND = "plan --model llama-3-8b --gpus 8 --batch 64 --length 8192".split()


def test_the_table_is_printed_with_its_formulas(capsys):
    assert main(COMMAND) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("llama-3-8b: 8,030,261,248 parameters")
    assert out[2] == "37 of 44 layouts fit into 80 GB"
    assert out[4].split()[:5] == ["4", "2", "1", "1", "no"]
    assert "28.1" in out[4] and out[-1].endswith("to cost no time")


def test_where_nothing_fits_the_smallest_are_shown(capsys):
    assert main([*COMMAND, "--memory", "8GiB"]) == 0
    out = capsys.readouterr().out
    assert "0 of 44 layouts fit into 8.58993 GB" in out
    assert "nothing fits; the smallest are shown" in out


def test_a_size_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        main([*COMMAND, "--memory", "80"])
    assert "got 80, expected a size such as 80GB" in capsys.readouterr().err
