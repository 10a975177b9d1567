"""What the chapter claims of balancing, proved against Hugging Face's."""

import math
from dataclasses import replace

import pytest
import torch
import transformers as hf
from transformers.models.mixtral.modeling_mixtral import (
    load_balancing_loss_func as theirs_for_mixtral,
)
from transformers.models.switch_transformers import (
    modeling_switch_transformers as their_switch,
)

from llmnotes import train
from llmnotes.models.moe import (
    Balanced,
    BiasedRouter,
    Mixtral,
    MixtralConfig,
    Routing,
    balancing_loss,
    choose,
    loads,
    penalty,
    watched,
    z_loss,
)
from llmnotes.presets import SMALL
from tests.models.llama.tiny import scatter, some_ids
from tests.models.moe.layers import EXPERTS, LAYER, layer, some_rows
from tests.models.moe.tiny import SHAPE

TOKENS = 11


def some_routing(chosen=2, seed=1, tokens=TOKENS):
    torch.manual_seed(seed)
    return choose(torch.randn(tokens, EXPERTS, dtype=torch.float64), chosen)


def test_by_hand_even_routing_costs_1_and_collapse_as_many_as_experts():
    """4 experts: even Σ ¼·¼·4 = 1; all to one with certainty 4·1·1 = 4."""
    even = choose(20.0 * torch.eye(4, dtype=torch.float64), 1)
    assert loads(even).tolist() == [1, 1, 1, 1]
    assert balancing_loss(even).item() == pytest.approx(1)
    certain = torch.zeros(4, 4, dtype=torch.float64)
    certain[:, 2] = 99
    assert balancing_loss(choose(certain, 1)).item() == pytest.approx(4)


def test_with_equal_chances_the_loss_is_1_whoever_was_chosen():
    logits = torch.zeros(TOKENS, EXPERTS)
    experts = torch.zeros(TOKENS, 1, dtype=torch.int64)
    routing = Routing(experts, torch.ones(TOKENS, 1), logits)
    assert balancing_loss(routing).item() == pytest.approx(1)


def test_the_loss_of_one_choice_is_switch_s_of_hugging_face():
    routing = some_routing(chosen=1)
    chances = routing.logits.softmax(-1)[None]
    right = their_switch.load_balancing_loss_func(
        chances, routing.experts[None]
    )
    torch.testing.assert_close(balancing_loss(routing), right)


@pytest.mark.parametrize("chosen", [1, 2, 3])
def test_mixtral_s_in_hugging_face_is_as_many_times_that_as_are_chosen(chosen):
    routing = some_routing(chosen)
    right = theirs_for_mixtral((routing.logits,), EXPERTS, chosen)
    ours = chosen * balancing_loss(routing)
    torch.testing.assert_close(ours, right, check_dtype=False)


def test_padding_can_be_left_out_as_there():
    routing, mask = some_routing(), torch.arange(TOKENS) % 3 > 0
    right = theirs_for_mixtral((routing.logits,), EXPERTS, 2, mask)
    ours = 2 * balancing_loss(routing, mask)
    torch.testing.assert_close(ours, right, check_dtype=False)
    assert not torch.isclose(balancing_loss(routing), ours / 2)


def test_layers_that_collapse_onto_different_experts_look_even_in_a_pool():
    """Each of 4 layers gives all its tokens to one expert of its own."""
    layers = [choose(20.0 * torch.eye(4)[[i] * TOKENS], 1) for i in range(4)]
    pooled = theirs_for_mixtral(tuple(r.logits for r in layers), 4, 1)
    assert pooled.item() == pytest.approx(1, abs=1e-4)
    for routing in layers:
        assert balancing_loss(routing).item() == pytest.approx(4, abs=1e-4)


def test_the_z_loss_is_hugging_face_s():
    routing = some_routing()
    right = their_switch.router_z_loss_func(routing.logits[None])
    torch.testing.assert_close(z_loss(routing), right)


def test_by_hand_the_z_loss_of_even_logits_is_the_square_of_ln_n():
    routing = choose(torch.zeros(3, 8), 2)
    assert z_loss(routing).item() == pytest.approx(math.log(8) ** 2)
    shifted = choose(torch.full((3, 8), 5.0), 2)  # the same choice
    assert z_loss(shifted).item() == pytest.approx((math.log(8) + 5) ** 2)


def test_going_down_the_loss_evens_out_what_experts_are_given():
    made, x = layer(num_experts_per_tok=1), some_rows(200)
    with torch.no_grad():
        x[:, 0] += 3
        made.gate.weight[:, 0] = torch.arange(5.0)
    optimizer = torch.optim.SGD(made.gate.parameters(), lr=0.3)
    before = loads(made.gate(x)).max()
    for _ in range(100):
        optimizer.zero_grad()
        balancing_loss(made.gate(x)).backward()
        optimizer.step()
    after = loads(made.gate(x)).max()
    assert before > 150 and after < 80


def biased(**change):
    router = BiasedRouter(MixtralConfig(**LAYER | change)).double()
    torch.manual_seed(0)
    with torch.no_grad():
        router.weight.normal_()
        router.weight[3, 0] += 3
    return router


def test_the_bias_has_a_say_in_the_choice_and_none_in_the_weights():
    router, x = biased(num_experts_per_tok=EXPERTS), some_rows(TOKENS)
    plain = router(x)
    router.lift += torch.tensor([0.0, 5.0, 1.0, 2.0, 3.0])
    lifted = router(x)
    assert not torch.equal(plain.experts, lifted.experts)
    a, b = (
        torch.zeros(TOKENS, EXPERTS, dtype=torch.float64).scatter(
            1, r.experts, r.weights
        )
        for r in (plain, lifted)
    )
    torch.testing.assert_close(a, b)


def test_the_biased_router_is_deepseek_v3_s_of_hugging_face():
    from transformers.models.deepseek_v3 import modeling_deepseek_v3 as hf_v3

    config = hf.DeepseekV3Config(
        hidden_size=6, n_routed_experts=EXPERTS, num_experts_per_tok=2,
        n_group=1, topk_group=1, routed_scaling_factor=1.0,
    )  # fmt: skip
    their, ours = hf_v3.DeepseekV3TopkRouter(config), biased().float()
    x = some_rows(TOKENS).float()
    ours.lift.copy_(torch.randn(EXPERTS))
    with torch.no_grad():
        their.weight.copy_(ours.weight)
    their.e_score_correction_bias.copy_(ours.lift)
    _, weights, experts = their(x)
    found = ours(x)
    order = experts.argsort(-1), found.experts.argsort(-1)
    assert torch.equal(
        experts.gather(1, order[0]), found.experts.gather(1, order[1])
    )
    torch.testing.assert_close(
        weights.gather(1, order[0]), found.weights.gather(1, order[1])
    )


def test_without_a_loss_the_bias_evens_out_what_experts_are_given():
    router, x = biased(), some_rows(200)
    x[:, 0] += 2
    before = loads(router(x))
    for _ in range(300):
        router.adjust(loads(router(x)), rate=0.01)
    after = loads(router(x))
    even = before.sum() / EXPERTS
    assert before.max() > 1.7 * even
    assert after.max() < 1.1 * even


def test_by_hand_one_adjustment_lifts_by_the_rate_and_lowers_by_it():
    router = biased()
    router.adjust(torch.tensor([3, 1, 2, 4, 0]), rate=0.1)
    right = torch.tensor([-0.1, 0.1, 0, -0.1, 0.1], dtype=torch.float64)
    torch.testing.assert_close(router.lift, right)
    assert not router.lift.requires_grad


def tiny():
    return scatter(Mixtral(MixtralConfig(**SHAPE, router_aux_loss_coef=0.5)))


def test_for_one_layer_the_penalty_is_hugging_face_s_whole_auxiliary_loss():
    shape = MixtralConfig(**SHAPE | {"num_hidden_layers": 1})
    model, ids = scatter(Mixtral(shape)), some_ids()
    with watched(model) as routings:
        model(ids)
    logits = tuple(r.logits for r in routings)
    right = shape.router_aux_loss_coef * theirs_for_mixtral(logits, 5, 2)
    torch.testing.assert_close(penalty(shape, routings), right)


def test_training_adds_the_penalty_and_judging_does_not():
    model, text = tiny(), torch.arange(300) % 23
    config = replace(SMALL, block=8, batch_size=3, eval_batches=2)
    plain = train.LanguageModelling(text, text, config)
    balanced = Balanced(text, text, config)
    batch = plain.batch(0)
    with watched(model) as routings:
        model(batch[0])
    torch.testing.assert_close(
        balanced.loss(model, batch),
        plain.loss(model, batch) + penalty(model.config, routings),
    )
    assert balanced.evaluate(model) == plain.evaluate(model)
    assert balanced.facts() != plain.facts()
    balanced.loss(model, batch).backward()
    gate = model.model["layers"][0].mlp.gate
    assert gate.weight.grad.abs().sum() > 0


def test_a_compiled_model_is_refused():
    config = replace(SMALL, block=8, compile=True)
    with pytest.raises(ValueError, match="compile: got True, expected False"):
        Balanced(torch.arange(99), torch.arange(99), config)
