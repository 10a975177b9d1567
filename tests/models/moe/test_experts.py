"""What the chapter claims of a layer of experts, proved."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from llmnotes.models.llama import SwiGLU
from llmnotes.models.moe import (
    Experts,
    MixtralConfig,
    Mixture,
    Router,
    by_definition,
    choose,
    expert,
    grouped,
    loads,
    watched,
)
from tests.models.moe.layers import (
    CHOSEN,
    EXPERTS,
    INNER,
    LAYER,
    WIDTH,
    layer,
    some_rows,
)

TOKENS = 11


def both(made, x):
    """What the two ways give, and the gradients of everything in them."""
    found = []
    for way in (by_definition, grouped):
        made.zero_grad()
        x = x.detach().requires_grad_()
        experts = made.experts
        out = way(x, made.gate(x), experts.gate_up_proj, experts.down_proj)
        torch.manual_seed(2)
        (out * torch.randn_like(out)).sum().backward()
        weights = {n: p.grad for n, p in made.named_parameters()}
        found.append((out, x.grad, weights))
    return found


@pytest.mark.parametrize(
    ("tokens", "experts", "chosen"),
    [(1, 5, 1), (1, 5, 2), (11, 5, 2), (13, 3, 3), (40, 7, 4), (3, 16, 1)],
)
def test_grouped_is_the_definition_forward_and_back(tokens, experts, chosen):
    made = layer(num_local_experts=experts, num_experts_per_tok=chosen)
    (a, dx, dw), (b, dy, dv) = both(made, some_rows(tokens))
    torch.testing.assert_close(b, a)
    torch.testing.assert_close(dy, dx)
    for name in dw:
        torch.testing.assert_close(dv[name], dw[name], msg=name)


def test_by_hand_two_experts_weighed_three_to_one():
    """Logits ln 3, 0 and -9: the weights are 3/4 and 1/4."""
    routing = choose(torch.tensor([[0.0, -9.0, math.log(3)]]), 2)
    assert routing.experts.tolist() == [[2, 0]]
    torch.testing.assert_close(routing.weights, torch.tensor([[0.75, 0.25]]))
    # Experts of width 1 that answer silu(1) · up · down, with x = 1.
    gate_up = torch.tensor([[[1.0], [2.0]], [[1.0], [7.0]], [[1.0], [4.0]]])
    out = grouped(torch.ones(1, 1), routing, gate_up, torch.ones(3, 1, 1))
    silu = 1 / (1 + math.exp(-1))
    assert out.item() == pytest.approx(silu * (0.75 * 4 + 0.25 * 2))


def test_all_experts_chosen_is_one_dense_layer_with_weighed_answers():
    made = layer(num_experts_per_tok=EXPERTS)
    x = some_rows(TOKENS)
    chances = (x @ made.gate.weight.T).softmax(-1)
    gate_up, down = made.experts.gate_up_proj, made.experts.down_proj
    wide = torch.einsum("td,eid->tei", x, gate_up)
    gate, up = wide.chunk(2, dim=-1)
    answers = torch.einsum("tei,edi->ted", F.silu(gate) * up, down)
    dense = torch.einsum("te,ted->td", chances, answers)
    torch.testing.assert_close(made(x), dense)


def test_equal_experts_are_one_mlp_whatever_is_chosen():
    made = layer()
    with torch.no_grad():
        for p in made.experts.parameters():
            p.copy_(p[:1].clone().expand_as(p))
    x = some_rows(TOKENS)
    one = expert(x, made.experts.gate_up_proj[0], made.experts.down_proj[0])
    torch.testing.assert_close(made(x), one)


def test_an_expert_is_a_swiglu():
    config = MixtralConfig(**LAYER)
    mlp, x = SwiGLU(config).double(), some_rows(TOKENS)
    gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])
    ours = expert(x, gate_up, mlp.down_proj.weight)
    torch.testing.assert_close(ours, mlp(x))


def test_experts_in_another_order_give_the_same_output():
    made, other = layer(), layer()
    order = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        for p in other.parameters():
            p.copy_(p[order])
    x = some_rows(3, TOKENS)
    torch.testing.assert_close(other(x), made(x))
    with torch.no_grad():  # the router's rows must come along
        other.gate.weight.copy_(made.gate.weight)
    assert not torch.allclose(other(x), made(x))


def test_a_token_s_output_does_not_depend_on_its_batch():
    made, x = layer(), some_rows(4, TOKENS)
    whole = made(x)
    for b in range(4):
        for t in range(TOKENS):
            torch.testing.assert_close(made(x[b, t]), whole[b, t])


def test_softmax_before_and_after_the_choice_are_equal_if_renormalised():
    logits = some_rows(TOKENS)
    routing = choose(logits, 3)
    before = logits.softmax(-1)
    kept, experts = before.topk(3)
    assert torch.equal(experts, routing.experts)
    torch.testing.assert_close(
        kept / kept.sum(-1, keepdim=True), routing.weights
    )
    assert not torch.allclose(kept, routing.weights)


def test_a_single_chosen_expert_teaches_a_renormalising_router_nothing():
    made = layer(num_experts_per_tok=1)
    made(some_rows(TOKENS)).square().sum().backward()
    assert made.gate.weight.grad.abs().max() == 0


def test_grouping_computes_the_chosen_experts_and_no_more():
    made, x = layer(), some_rows(TOKENS)
    routing = made.gate(x)
    weights = made.experts.gate_up_proj, made.experts.down_proj
    one = 2 * 3 * WIDTH * INNER  # flops of an expert and a token
    for way, readers in ((grouped, CHOSEN), (by_definition, EXPERTS)):
        with FlopCounterMode(display=False) as counter:
            way(x, routing, *weights)
        assert counter.get_total_flops() == readers * TOKENS * one
    with FlopCounterMode(display=False) as counter:
        made(x)
    router = 2 * TOKENS * WIDTH * EXPERTS
    assert counter.get_total_flops() == CHOSEN * TOKENS * one + router


def test_the_way_back_computes_twice_as_much_and_no_more():
    made, x = layer(), some_rows(TOKENS).requires_grad_()
    routing = choose(some_rows(TOKENS)[:, :EXPERTS], CHOSEN)
    with FlopCounterMode(display=False) as counter:
        out = made.experts(x, routing)
        forward = counter.get_total_flops()
        out.sum().backward()
    assert counter.get_total_flops() == 3 * forward


def test_an_expert_that_nobody_asks_has_a_gradient_of_zeros():
    made, x = layer(), some_rows(TOKENS)
    routing = choose(torch.zeros(TOKENS, EXPERTS), CHOSEN)
    asked = set(routing.experts.flatten().tolist())
    made.experts(x, routing).sum().backward()
    for i in range(EXPERTS):
        size = made.experts.down_proj.grad[i].abs().sum()
        assert (size > 0) == (i in asked)


def test_what_routers_decide_can_be_watched():
    made, x = layer(), some_rows(TOKENS)
    with watched(made) as routings:
        made(x)
    made(x)  # no longer
    (routing,) = routings
    assert routing.count == EXPERTS
    assert loads(routing).sum() == CHOSEN * TOKENS
    right = torch.stack([(routing.experts == i).sum() for i in range(EXPERTS)])
    assert torch.equal(loads(routing), right)


def test_in_16_bits_a_layer_errs_at_most_twice_as_much_as_pytorch_does():
    made, x = layer(), some_rows(TOKENS)
    right, low = made(x), x.bfloat16()
    routing = made.gate(x)
    made.bfloat16()
    weights = made.experts.gate_up_proj, made.experts.down_proj
    ours = grouped(low, routing, *weights)
    plain = torch.zeros_like(right)
    for k in range(CHOSEN):
        for t in range(TOKENS):
            i = routing.experts[t, k]
            answer = expert(low[t : t + 1], *(w[i] for w in weights))
            plain[t] += routing.weights[t, k] * answer[0].double()
    assert ours.dtype == torch.bfloat16
    error, yardstick = (
        (found.double() - right).abs().max() for found in (ours, plain)
    )
    assert error <= 2 * yardstick


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (6, "chosen: got 6, expected at most the 5 experts"),
        (0, "chosen: got 0, expected at least 1"),
    ],
)
def test_an_impossible_number_of_experts_is_refused(chosen, words):
    with pytest.raises(ValueError, match=words):
        choose(torch.zeros(3, EXPERTS), chosen)


def test_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match="logits: got shape"):
        choose(torch.zeros(EXPERTS), 1)
    with pytest.raises(ValueError, match="num_experts_per_tok: got 9"):
        Mixture(MixtralConfig(**LAYER | {"num_experts_per_tok": 9}))


def test_fresh_layers_start_like_linear_ones():
    config = MixtralConfig(**LAYER | {"hidden_size": 64, "head_dim": 2})
    torch.manual_seed(0)
    found = Experts(config)
    for p, inputs in ((found.gate_up_proj, 64), (found.down_proj, INNER)):
        assert p.abs().max() <= 1 / math.sqrt(inputs)
        assert p.std().item() == pytest.approx(
            1 / math.sqrt(3 * inputs), rel=0.1
        )
    assert Router(config).weight.shape == (EXPERTS, 64)
