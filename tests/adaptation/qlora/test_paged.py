"""AdamW with moments on disk: the numbers of AdamW, the room kept."""

import copy

import pytest
import torch
from torch import nn

from llmnotes.adaptation.qlora import PagedAdamW, Pages
from llmnotes.adaptation.qlora.paged import BYTES, PAGE


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(70, 130), nn.GELU(), nn.Linear(130, 50))


def trained(model, optimizer, steps=5):
    torch.manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 70)).square().mean().backward()
        optimizer.step()
    return [p.detach() for p in model.parameters()]


@pytest.mark.parametrize("pages", (1, 2, 100))
def test_its_numbers_are_those_of_adamw_whatever_the_room(pages):
    model, other = net(), net()
    expected = trained(
        other, torch.optim.AdamW(other.parameters(), lr=0.01, foreach=False)
    )
    optimizer = PagedAdamW(model.parameters(), lr=0.01, room=pages * BYTES)
    for ours, theirs in zip(trained(model, optimizer), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_groups_have_their_own_rates_and_frozen_weights_stay():
    model, other = net(), net()
    groups = [
        [{"params": m[0].parameters(), "lr": 0.1},
         {"params": m[2].weight, "weight_decay": 0.5}]
        for m in (model, other)
    ]  # fmt: skip
    bias = copy.deepcopy(model[2].bias)
    ours = trained(model, PagedAdamW(groups[0], room=BYTES))
    theirs = trained(other, torch.optim.AdamW(groups[1], foreach=False))
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)
    assert torch.equal(model[2].bias, bias)


def test_no_more_than_the_room_is_in_memory_at_once():
    model = net()
    optimizer = PagedAdamW(model.parameters(), room=2 * BYTES)
    most = []
    original = optimizer.pages.get

    def watched(number):
        page = original(number)
        most.append(optimizer.pages.nbytes)
        return page

    optimizer.pages.get = watched
    trained(model, optimizer)
    assert max(most) == 2 * BYTES


def test_with_room_for_all_each_page_is_fetched_once():
    model = net()
    needed = sum(-(-p.numel() // PAGE) for p in model.parameters())
    assert needed == 3 + 1 + 2 + 1  # 9,100, 130, 6,500 and 50 numbers
    optimizer = PagedAdamW(model.parameters(), room=99 * BYTES)
    trained(model, optimizer)
    assert optimizer.pages.faults == needed


def test_with_one_page_too_few_every_page_is_fetched_each_step():
    """The one that is used last is needed next: the worst of all orders."""
    model = net()
    needed = sum(-(-p.numel() // PAGE) for p in model.parameters())
    optimizer = PagedAdamW(model.parameters(), room=(needed - 1) * BYTES)
    trained(model, optimizer, steps=5)
    assert optimizer.pages.faults == 5 * needed


def test_a_page_that_was_written_to_comes_back_as_it_was():
    pages = Pages(3, BYTES)
    for number in range(3):
        pages.get(number)[1].fill_(number + 1)
    for number in range(3):
        m, v = pages.get(number)
        assert not m.any() and (v == number + 1).all()


@pytest.mark.parametrize(
    ("weights", "room", "message"),
    [
        (torch.zeros(3), BYTES - 1, f"room: got {BYTES - 1}, expected at"),
        (torch.zeros(3).half(), BYTES, "params: got torch.float16"),
        (torch.zeros(3, 4).T, BYTES, "expected float32 in one piece"),
    ],
)
def test_what_cannot_be_paged_is_refused(weights, room, message):
    with pytest.raises(ValueError, match=message):
        PagedAdamW([nn.Parameter(weights)], room=room)
