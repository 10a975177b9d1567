"""An optimizer's state belongs to weights by name, whatever their order."""

import json
import re

import pytest
import torch
from torch import nn

from llmnotes import checkpoint
from llmnotes.transformer.pretraining.muon import Muon


class Moody(torch.optim.Optimizer):
    """An optimizer whose state is what a test says."""

    def __init__(self, params, state, **options):
        super().__init__(params, {"lr": 0.1, **options})
        self.first = state

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.state[p] |= self.first


def blocks(seed=0, frozen=()):
    """Three layers of one shape: a number cannot tell them apart."""
    torch.manual_seed(seed)
    model = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(3)))
    for i in frozen:
        model[i].weight.requires_grad_(False)
    return model


def free(model):
    return [p for p in model.parameters() if p.requires_grad]


def stepped(model, optimizer, steps=2):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.arange(4.0)).square().mean().backward()
        optimizer.step()
    return model, optimizer


def moments(model, optimizer):
    names = {p: name for name, p in model.named_parameters()}
    return {names[p]: state for p, state in optimizer.state.items()}


def test_a_run_with_other_frozen_weights_is_refused_and_they_are_named(
    tmp_path,
):
    """Their numbers agree, so block 0 would get the moments of block 1."""
    model = blocks(frozen=[0])
    checkpoint.save(
        tmp_path, 1, *stepped(model, torch.optim.AdamW(free(model)))
    )
    for frozen, said in (
        ([1], "1.weight only in .*; 0.weight only here"),
        ([0, 1], "1.weight only in"),
        ([], "0.weight only here"),
    ):
        other = blocks(1, frozen)
        before = [p.clone() for p in other.parameters()]
        with pytest.raises(ValueError, match=f"^optimizer: .*{said}") as error:
            checkpoint.load(tmp_path, other, torch.optim.AdamW(free(other)))
        assert "damaged" not in str(error.value)
        assert "move step" not in str(error.value)
        assert all(map(torch.equal, before, other.parameters()))


def test_moments_find_their_weights_in_another_order(tmp_path):
    model = blocks()
    model, optimizer = stepped(model, torch.optim.Adam(model.parameters()))
    checkpoint.save(tmp_path, 1, model, optimizer)
    other = blocks(1)
    last = {"params": [other[2].weight]}
    rest = {"params": [other[1].weight, other[0].weight]}
    found = torch.optim.Adam([last, rest])
    checkpoint.load(tmp_path, other, found)
    for name, state in moments(model, optimizer).items():
        mine = moments(other, found)[name]
        assert state.keys() == mine.keys()
        assert all(torch.equal(state[key], mine[key]) for key in state)


OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.1),  # rows, columns
    "sgd": torch.optim.SGD,  # nothing at all
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "asgd": torch.optim.ASGD,
    "rprop": torch.optim.Rprop,
    "muon": lambda p: Muon(p),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_every_kind_of_state_comes_back_and_goes_on_to_the_same_bit(
    tmp_path, make
):
    whole = blocks()
    stepped(whole, make(whole.parameters()), steps=5)
    model = blocks()
    model, optimizer = stepped(model, make(list(model.parameters())), 3)
    checkpoint.save(tmp_path, 3, model, optimizer)
    other = blocks(1)
    found = make(list(other.parameters()))
    checkpoint.load(tmp_path, other, found)
    stepped(other, found, 2)
    assert all(map(torch.equal, whole.parameters(), other.parameters()))


def test_a_moment_of_several_weights_is_refused_in_another_order(tmp_path):
    def stacking(model, way):
        return Moody(free(model)[::way], {"mean": torch.ones(3, 4, 4)})

    model = blocks()
    checkpoint.save(tmp_path, 1, *stepped(model, stacking(model, 1)))
    other = blocks(1)
    checkpoint.load(tmp_path, other, stacking(other, 1))
    with pytest.raises(ValueError, match="in another order than in"):
        checkpoint.load(tmp_path, other, stacking(other, -1))


def test_plain_values_and_types_of_their_own_come_back(tmp_path):
    """PyTorch would give a float32 moment its weight's bfloat16."""
    state = {
        "mean": torch.full((4, 4), 1 / 3), "seen": torch.tensor([7, 8]),
        "count": 3, "best": 0.1, "name": "x", "none": None, "on": True,
    }  # fmt: skip
    model = blocks().bfloat16()
    optimizer = Moody(model.parameters(), state)
    model(torch.ones(4).bfloat16()).sum().backward()
    optimizer.step()
    checkpoint.save(tmp_path, 1, model, optimizer)
    other = blocks(1).bfloat16()
    found = Moody(other.parameters(), {})
    checkpoint.load(tmp_path, other, found)
    for mine in moments(other, found).values():
        assert mine.keys() == state.keys()
        for key, value in state.items():
            if isinstance(value, torch.Tensor):
                assert mine[key].dtype == value.dtype
                assert torch.equal(mine[key], value)
            else:
                assert mine[key] == value


def lbfgs(model):
    optimizer = torch.optim.LBFGS(model.parameters())

    def closure():
        optimizer.zero_grad()
        loss = model(torch.arange(4.0)).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return optimizer


STRANGE = {
    "lists": (lbfgs, "got LBFGS, whose state of '0.weight' holds a list as"),
    "objects": (
        lambda m: stepped(m, Moody(m.parameters(), {"x": object()}))[1],
        "got Moody, whose state of '0.weight' holds a object as 'x'",
    ),
    "another's": (
        lambda m: torch.optim.SGD([*m.parameters(), nn.Parameter(
            torch.ones(3))]),
        r"got a weight of shape \(3,\) that is none of the model's",
    ),
    "none": (lambda m: object(), "got object, which has no state_dict"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "said"), STRANGE.values(), ids=STRANGE)
def test_a_state_that_no_file_can_hold_is_named_and_leaves_nothing(
    tmp_path, make, said
):
    model = blocks()
    with pytest.raises(ValueError, match=f"^optimizer: {said}"):
        checkpoint.save(tmp_path / "run", 1, model, make(model))
    assert not (tmp_path / "run").exists()


def test_another_optimizer_or_another_option_is_refused(tmp_path):
    def adam(model, **options):
        return torch.optim.Adam(model.parameters(), **options)

    model = blocks()
    checkpoint.save(tmp_path, 1, *stepped(model, adam(model)))
    other = blocks()
    for optimizer, said in (
        (torch.optim.SGD(other.parameters()), "got SGD, expected Adam, whose"),
        (adam(other, eps=1e-3), "eps: got 0.001, expected 1e-08, with which"),
        (adam(other, betas=(0.5, 0.6)), r"betas: got \[0.5, 0.6\], expected"),
    ):
        with pytest.raises(ValueError, match=f"^optimizer: {said}"):
            checkpoint.load(tmp_path, other, optimizer)
    checkpoint.load(tmp_path, other, adam(other, lr=3.0, foreach=True))


def test_a_checkpoint_of_the_first_format_gives_its_weights_only(tmp_path):
    model, optimizer = stepped(
        *(lambda m: (m, torch.optim.AdamW(m.parameters())))(blocks())
    )
    home = checkpoint.save(tmp_path, 1, model, optimizer)
    state = json.loads((home / "state.json").read_text("utf-8"))
    del state["optimizer"]
    state["format"] = "llmnotes checkpoint 1"
    (home / "state.json").write_text(json.dumps(state), "utf-8")
    other = blocks(1)
    with pytest.raises(ValueError, match="may be those of other weights"):
        checkpoint.load(tmp_path, other, torch.optim.AdamW(other.parameters()))
    checkpoint.load(tmp_path, other)
    assert all(map(torch.equal, model.parameters(), other.parameters()))


SPOILED = {
    "lost": lambda f: f["weights"].pop() and f["state"].popitem(),
    "null": lambda f: f.update(state=None),
    "shape": lambda f: f["state"]["0.weight"]["exp_avg"].update(shape=[9]),
    "list": lambda f: f["state"].update({"0.weight": []}),
    "more": lambda f: f["state"]["0.weight"].update(x={"shape": []}),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_files_that_disagree_are_damaged_and_change_nothing(tmp_path, spoil):
    model = blocks()
    home = checkpoint.save(
        tmp_path, 1, *stepped(model, torch.optim.AdamW(model.parameters()))
    )
    state = json.loads((home / "state.json").read_text("utf-8"))
    spoil(state["optimizer"])
    (home / "state.json").write_text(json.dumps(state), "utf-8")
    other = blocks(1)
    before = [p.clone() for p in other.parameters()]
    where = re.escape(str(home / "training.safetensors"))
    with pytest.raises(ValueError, match=f"^{where}: got a damaged or"):
        checkpoint.load(tmp_path, other, torch.optim.AdamW(other.parameters()))
    assert all(map(torch.equal, before, other.parameters()))
