"""AdamW with moments on disk: the numbers of AdamW, the room kept."""

import copy

import pytest
import torch
from torch import nn

from llmnotes import checkpoint
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


def test_weights_without_a_gradient_count_their_own_steps():
    """As in AdamW, whose corrections depend on how often each has moved."""
    found = []
    for build in (
        lambda p: PagedAdamW(p, lr=0.01, room=9 * BYTES),
        lambda p: torch.optim.AdamW(p, lr=0.01, foreach=False),
    ):
        model = net()
        optimizer = build(model.parameters())
        for step in range(5):
            torch.manual_seed(step)
            optimizer.zero_grad()
            layer = model if step % 2 else model[0]
            layer(torch.randn(8, 70)).square().mean().backward()
            optimizer.step()
        found.append([p.detach() for p in model.parameters()])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_a_closure_is_called_and_its_loss_handed_on():
    model, other = net(), net()
    optimizer = PagedAdamW(other.parameters(), room=9 * BYTES)
    trained(model, PagedAdamW(model.parameters(), room=9 * BYTES), steps=1)
    torch.manual_seed(1)
    x = torch.randn(8, 70)

    def closure():
        optimizer.zero_grad()
        loss = other(x).square().mean()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() > 0
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_no_checkpoint_forgets_its_moments_in_silence(tmp_path):
    """They would begin at 0 when the run goes on."""
    model = net()
    optimizer = PagedAdamW(model.parameters(), room=BYTES)
    for call in (
        optimizer.state_dict,
        lambda: optimizer.load_state_dict({}),
        lambda: checkpoint.save(tmp_path, 1, model, optimizer, {}),
    ):
        with pytest.raises(ValueError, match="optimizer: got PagedAdamW, wh"):
            call()
    assert not list(tmp_path.rglob("*.safetensors"))


def test_weights_that_come_later_are_refused_before_anything_moves():
    model = net()
    optimizer = PagedAdamW(model[0].parameters(), room=BYTES)
    with pytest.raises(ValueError, match="param_group: got weights that have"):
        optimizer.add_param_group({"params": list(model[2].parameters())})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(lr=-1.0), "lr: got -1.0, expected 0 or more"),
        (dict(lr=float("nan")), "lr: got nan"),
        (dict(eps=-1e-8), "eps: got -1e-08"),
        (dict(weight_decay=-0.1), "weight_decay: got -0.1"),
        (dict(betas=(1.0, 0.9)), "betas: got 1.0, expected two from 0"),
        (dict(betas=(0.9, -0.1)), "betas: got -0.1"),
    ],
)
def test_rates_that_adamw_refuses_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        PagedAdamW(net().parameters(), **change, room=BYTES)
    with pytest.raises(ValueError):
        torch.optim.AdamW(net().parameters(), **change)


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
