"""What the chapter claims of experts with a limited number of places."""

import pytest
import torch
import transformers as hf
from torch.utils.flop_counter import FlopCounterMode
from transformers.models import switch_transformers as theirs

from llmnotes._site.figures import moe as figure
from llmnotes.models.moe import (
    Routing,
    Switch,
    SwitchConfig,
    capacity,
    choose,
    dropped,
    fitting,
    loads,
)
from tests.models.moe.layers import (
    EXPERTS,
    INNER,
    LAYER,
    WIDTH,
    layer,
    some_rows,
)

TOKENS = 11


def switch(**change):
    return layer(Switch, SwitchConfig, num_experts_per_tok=1, **change)


def routed(*choices):
    """A routing of these choices, one row for each token."""
    experts = torch.tensor(choices)
    return Routing(experts, experts / 1.0, torch.zeros(len(experts), EXPERTS))


@pytest.mark.parametrize(
    ("tokens", "experts", "factor", "chosen", "places"),
    [
        (64, 8, 1.0, 1, 8),
        (64, 8, 1.25, 1, 10),
        (11, 5, 1.0, 1, 3),
        (80, 8, 1.1, 1, 11),  # 1.1 · 80 is 88.00000000000001
        (64, 8, 1.0, 2, 16),
        (1, 64, 1.25, 1, 1),
    ],
)
def test_by_hand_places_are_even_shares_times_the_factor_rounded_up(
    tokens, experts, factor, chosen, places
):
    assert capacity(tokens, experts, factor, chosen) == places


def test_who_comes_first_is_served_first():
    routing = routed([2], [0], [2], [2], [0], [2])
    kept = fitting(routing, 2).experts[:, 0].tolist()
    assert kept == [2, 0, 2, EXPERTS, 0, EXPERTS]


def test_second_choices_wait_until_all_first_ones_are_placed():
    routing = routed([0, 1], [0, 2], [1, 0])
    assert fitting(routing, 2).experts.tolist() == [[0, 1], [0, 2], [1, 5]]
    assert fitting(routing, 1).experts.tolist() == [[0, 5], [5, 2], [1, 5]]


def test_the_drawn_queues_are_those_of_the_code():
    kept = fitting(routed(*figure.ROUTES), figure.PLACES).experts
    for number, queue in enumerate(figure.queues()):
        right = (kept == number).any(1).nonzero().flatten().tolist()
        assert sorted(queue[: figure.PLACES]) == right


def test_router_and_places_are_switch_s_of_hugging_face():
    made, x = switch().float(), some_rows(40).float()
    config = hf.SwitchTransformersConfig(
        d_model=WIDTH, num_experts=EXPERTS, expert_capacity=6
    )
    their = theirs.SwitchTransformersTop1Router(config).eval()  # no noise
    with torch.no_grad():
        their.classifier.weight.copy_(made.gate.weight)
    mask, chances, logits = their(x[None])
    routing = made.gate(x)
    ours = fitting(routing, 6)
    hot = torch.nn.functional.one_hot(ours.experts[:, 0], EXPERTS + 1)
    assert torch.equal(hot[:, :EXPERTS], mask[0])
    assert 0 < dropped(ours) < 40
    torch.testing.assert_close(routing.weights, chances[0])
    torch.testing.assert_close(routing.logits, logits[0])


def test_a_token_without_a_place_is_handed_on_as_it_came():
    made, x = switch(capacity_factor=0.5), some_rows(TOKENS)
    full = fitting(made.gate(x), capacity(TOKENS, EXPERTS, 0.5))
    out = made(x)
    nobody = full.experts[:, 0] == EXPERTS
    assert 0 < nobody.sum() == dropped(full)
    assert out[nobody].abs().max() == 0
    assert (out[~nobody].abs().amax(-1) > 0).all()


def test_with_room_for_all_nothing_is_dropped():
    made, x = switch(capacity_factor=float(EXPERTS)), some_rows(TOKENS)
    routing = made.gate(x)
    assert dropped(fitting(routing, capacity(TOKENS, EXPERTS, EXPERTS))) == 0
    torch.testing.assert_close(made(x), made.experts(x, routing))


def test_under_capacity_a_token_s_output_depends_on_its_batch():
    made, x = switch(capacity_factor=1.0), some_rows(1)
    alone = made(x)
    crowd = torch.cat([x.expand(TOKENS, -1), x])
    assert alone.abs().max() > 0
    assert made(crowd)[-1].abs().max() == 0


def test_who_stands_later_never_takes_a_first_choice_away():
    made, x = switch(capacity_factor=0.6), some_rows(TOKENS)
    x[:] = x[torch.arange(TOKENS) % 2]
    other = x.clone()
    other[6:] = some_rows(TOKENS - 6, seed=9)
    torch.testing.assert_close(made(x)[:6], made(other)[:6])


def test_but_it_takes_a_second_choice_away():
    first, later = routed([0, 1], [2, 3]), routed([0, 1], [1, 3])
    kept, lost = (fitting(r, 1).experts[0].tolist() for r in (first, later))
    assert (kept, lost) == ([0, 1], [0, EXPERTS])


def test_what_is_dropped_is_not_computed():
    made, x = switch(capacity_factor=0.5), some_rows(TOKENS)
    full = fitting(made.gate(x), capacity(TOKENS, EXPERTS, 0.5))
    with FlopCounterMode(display=False) as counter:
        made.experts(x, full)
    read = int(loads(full).sum())
    assert read == TOKENS - dropped(full)
    assert counter.get_total_flops() == 2 * 3 * WIDTH * INNER * read


def test_the_router_learns_from_its_single_expert():
    made = switch(capacity_factor=9.0)
    made(some_rows(TOKENS)).square().sum().backward()
    assert made.gate.weight.grad.abs().max() > 0


def test_gradients_of_dropped_tokens_are_zero():
    made = switch(capacity_factor=0.5)
    x = some_rows(TOKENS).requires_grad_()
    full = fitting(made.gate(x), capacity(TOKENS, EXPERTS, 0.5))
    made(x).sum().backward()
    nobody = full.experts[:, 0] == EXPERTS
    assert x.grad[nobody].abs().max() == 0
    assert (x.grad[~nobody].abs().amax(-1) > 0).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: capacity(8, 4, 0.0), "factor: got 0.0, expected more than 0"),
        (lambda: capacity(0, 4, 1.0), "tokens: got 0, expected at least 1"),
        (
            lambda: fitting(choose(torch.zeros(3, 4), 1), 0),
            "places: got 0, expected at least 1",
        ),
        (
            lambda: SwitchConfig(**LAYER, capacity_factor=-1.0),
            "capacity_factor: got -1.0, expected more than 0",
        ),
    ],
)
def test_room_for_nobody_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
