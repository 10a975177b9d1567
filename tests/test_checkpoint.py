"""What checkpoints claim, proved: whole or absent, and never half loaded."""

import json
import os
import resource
import signal

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from llmnotes import checkpoint


class Tied(nn.Module):
    """Two names for one weight, a buffer, a weight stored transposed."""

    def __init__(self, width=5):
        super().__init__()
        self.embed = nn.Embedding(7, width)
        self.middle = nn.Linear(width, width)
        self.middle.weight = nn.Parameter(torch.randn(width, width).T)
        self.out = nn.Linear(width, 7, bias=False)
        self.out.weight = self.embed.weight
        self.register_buffer("seen", torch.tensor(3))

    def forward(self, ids):
        return self.out(self.middle(self.embed(ids)))


def trained(seed=0, steps=2, width=5):
    torch.manual_seed(seed)
    model = Tied(width)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.arange(7)).square().mean().backward()
        optimizer.step()
    return model, optimizer


def everything(model, optimizer):
    moments = optimizer.state_dict()["state"]
    return [
        *(tensor.clone() for tensor in model.state_dict().values()),
        *(
            m.clone()
            for i in sorted(moments)
            for _, m in sorted(moments[i].items())
        ),
        torch.get_rng_state(),
    ]


def same(left, right):
    return len(left) == len(right) and all(map(torch.equal, left, right))


def test_weights_moments_and_randomness_come_back_to_the_bit(tmp_path):
    model, optimizer = trained()
    checkpoint.save(tmp_path, 2, model, optimizer, {"note": [1.1, None]})
    before = everything(model, optimizer)
    other = trained(seed=1, steps=1)
    assert not same(everything(*other), before)
    notes = checkpoint.load(tmp_path, *other)
    assert notes == {"note": [1.1, None], "step": 2}
    assert same(everything(*other), before)
    assert other[0].out.weight is other[0].embed.weight


def test_an_optimizer_that_never_stepped_comes_back_too(tmp_path):
    checkpoint.save(tmp_path, 0, *trained(steps=0))
    model, optimizer = trained(seed=1)
    checkpoint.load(tmp_path, model, optimizer)
    assert optimizer.state_dict()["state"] == {}


def test_weights_alone_leave_randomness_alone(tmp_path):
    checkpoint.save(tmp_path, 2, *trained())
    model, _ = trained(seed=1)
    before = torch.get_rng_state()
    checkpoint.load(tmp_path, model)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_tied_weight_is_written_once(tmp_path):
    home = checkpoint.save(tmp_path, 2, *trained())
    names = load_file(home / "model.safetensors").keys()
    assert names == {"embed.weight", "middle.weight", "middle.bias", "seen"}


def test_the_last_two_are_kept(tmp_path):
    for step in (0, 9, 10, 1_000_000):
        checkpoint.save(tmp_path, step, *trained())
    assert checkpoint.steps(tmp_path) == [10, 1_000_000]
    assert checkpoint.latest(tmp_path).name == "step-1000000"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_copy_under_another_name_is_no_checkpoint(tmp_path):
    home = checkpoint.save(tmp_path, 2, *trained())
    home.rename(f"{home}.bak")
    assert checkpoint.steps(tmp_path) == []


def test_a_step_that_is_there_is_not_written_again(tmp_path):
    home = checkpoint.save(tmp_path, 2, *trained())
    before = os.stat(home / "model.safetensors")
    checkpoint.save(tmp_path, 2, *trained(seed=1))
    assert os.stat(home / "model.safetensors") == before


def test_an_empty_place_has_no_checkpoint(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert checkpoint.steps(folder) == []
        with pytest.raises(ValueError, match="got no checkpoint"):
            checkpoint.load(folder, *trained())
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="got a file"):
        checkpoint.steps(tmp_path / "file")


FILES = ("model.safetensors", "training.safetensors", "state.json")


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def foreign(file):
    if file.suffix == ".json":
        file.write_text('{"format": "other 1", "step": 2, "notes": {}}')
    else:
        save_file({"lm_head.weight": torch.ones(2)}, file)


DAMAGE = {
    "cut": cut,
    "empty": lambda file: file.write_bytes(b""),
    "gone": lambda file: file.unlink(),
    "foreign": foreign,
    "garbage": lambda file: file.write_bytes(b"\xff" * 100),
    "nested": lambda file: file.write_bytes(b"[" * 100_000),
    "null": lambda file: file.write_bytes(b"null"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_or_foreign_file_is_named_and_changes_nothing(
    tmp_path, name, damage
):
    checkpoint.save(tmp_path, 1, *trained())
    home = checkpoint.save(tmp_path, 2, *trained())
    damage(home / name)
    model, optimizer = trained(seed=1)
    before = everything(model, optimizer)
    with pytest.raises(ValueError, match="step-000002") as error:
        checkpoint.load(tmp_path, model, optimizer)
    assert "\n" not in str(error.value)
    if "another model" not in str(error.value):
        assert name in str(error.value)
        assert "to go on from step 1, move step-000002" in str(error.value)
    assert same(everything(model, optimizer), before)
    assert checkpoint.steps(tmp_path) == [1, 2]


def test_another_architecture_is_refused_with_the_weight_that_differs(
    tmp_path,
):
    checkpoint.save(tmp_path, 2, *trained())
    model, optimizer = trained(width=6)
    before = everything(model, optimizer)
    with pytest.raises(ValueError, match=r"embed.weight is \(7, 5\), exp"):
        checkpoint.load(tmp_path, model, optimizer)
    assert same(everything(model, optimizer), before)


def test_moments_of_another_shape_are_refused(tmp_path):
    home = checkpoint.save(tmp_path, 2, *trained())
    file = home / "training.safetensors"
    moments = load_file(file)
    for name, wrong in (
        ("optimizer.embed.weight.exp_avg", torch.ones(3)),
        ("optimizer.foot.weight.step", torch.ones(())),
    ):
        save_file(moments | {name: wrong}, file)
        with pytest.raises(ValueError, match=f"training.*{name}"):
            checkpoint.load(tmp_path, *trained())


def test_moments_without_random_states_are_refused(tmp_path):
    file = checkpoint.save(tmp_path, 2, *trained()) / "training.safetensors"
    kept = {k: v for k, v in load_file(file).items() if k[0] != "r"}
    save_file(kept, file)
    with pytest.raises(ValueError, match="training.*no random state"):
        checkpoint.load(tmp_path, *trained())


def test_a_full_disk_keeps_what_was_there(tmp_path):
    checkpoint.save(tmp_path, 1, *trained())
    model, optimizer = trained(steps=3)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
        with pytest.raises(RuntimeError, match="step 3 .*kept: 1$") as error:
            checkpoint.save(tmp_path, 3, model, optimizer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]
    checkpoint.load(tmp_path, model, optimizer)


@pytest.mark.parametrize("name", ["fsync", "rename"])
def test_an_error_at_any_call_keeps_what_was_there(
    tmp_path, monkeypatch, name
):
    checkpoint.save(tmp_path, 1, *trained())

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, name, full)
    with pytest.raises(RuntimeError, match="No space left.*kept: 1$"):
        checkpoint.save(tmp_path, 3, *trained())
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]
    checkpoint.load(tmp_path, *trained())


def test_the_bytes_reach_the_disk_before_the_name(tmp_path, monkeypatch):
    calls, names = [], {}
    opened, rename, fsync = os.open, os.rename, os.fsync

    def noted_open(file, *flags, **options):
        handle = opened(file, *flags, **options)
        names[handle] = os.path.basename(file)
        return handle

    def noted_fsync(handle):
        calls.append(names[handle])
        fsync(handle)

    def noted_rename(source, target):
        calls.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "open", noted_open)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    checkpoint.save(tmp_path, 1, *trained())
    assert set(calls[:3]) == set(FILES)
    assert calls[3:] == [checkpoint.PART, "rename", tmp_path.name]


def test_what_a_crash_left_behind_is_cleared_away(tmp_path):
    (tmp_path / checkpoint.PART).mkdir()
    (tmp_path / checkpoint.PART / "junk").touch()
    checkpoint.save(tmp_path, 1, *trained())
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]
    notes = json.loads((tmp_path / "step-000001/state.json").read_text())
    assert notes["format"] == checkpoint.FORMAT


# Models that are more than weights


class Views(nn.Module):
    """Weights that lie in one storage, two of them in the same numbers."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        flat = torch.randn(9)
        self.left = nn.Parameter(flat[:4])
        self.right = nn.Parameter(flat[4:])
        self.across = nn.Parameter(flat[2:6])
        self.square = nn.Parameter(torch.randn(3, 3))
        self.turned = nn.Parameter(self.square.data.T)

    def forward(self, x):
        return sum((p * x).sum() for p in self.parameters())


def views(seed):
    model = Views(seed)
    optimizer = torch.optim.Adam(model.parameters())
    model(2.0).backward()
    optimizer.step()
    return model, optimizer


def test_weights_that_share_their_memory_are_saved_and_come_back(tmp_path):
    model, optimizer = views(0)
    checkpoint.save(tmp_path, 1, model, optimizer)
    other, found = views(1)
    checkpoint.load(tmp_path, other, found)
    assert same(everything(other, found), everything(model, optimizer))
    assert torch.equal(other.turned, other.square.T)
    size = os.stat(tmp_path / "step-000001/model.safetensors").st_size
    assert size < 1000  # no storage was written with each of its views


class Extra(nn.Linear):
    """Keeps something beside its weights."""

    def __init__(self, state):
        super().__init__(2, 2)
        self.state = state

    def get_extra_state(self):
        return self.state

    def set_extra_state(self, state):
        self.state = state


def with_buffer(buffer):
    model = nn.Linear(2, 2)
    model.register_buffer("kept", buffer)
    return model


UNSAVABLE = {
    "extra words": (lambda: Extra("x"), "_extra_state: got a str of the mod"),
    # As a tensor it went into the file, and loading lost it without a word.
    "extra tensor": (lambda: Extra(torch.ones(2)), "_extra_state: got a Ten"),
    "no shape": (lambda: nn.LazyLinear(3), "weight: got a weight that has no"),
    "meta": (
        lambda: nn.Linear(2, 2, device="meta"),
        "weight: got a tensor on",
    ),
    "sparse": (
        lambda: with_buffer(torch.eye(3).to_sparse()),
        "kept: got a tensor on cpu of layout torch.sparse_coo",
    ),
    "expanded": (
        lambda: with_buffer(torch.ones(1).expand(3)),
        "kept: got an expanded tensor",
    ),
}


@pytest.mark.parametrize(("make", "said"), UNSAVABLE.values(), ids=UNSAVABLE)
def test_what_no_file_can_hold_is_named_and_nothing_is_left_behind(
    tmp_path, make, said
):
    checkpoint.save(tmp_path, 1, *trained())
    model = make()
    optimizer = torch.optim.SGD(model.parameters())
    with pytest.raises(ValueError, match=f"^{said}"):
        checkpoint.save(tmp_path, 2, model, optimizer)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]


def circle():
    notes = {}
    notes["me"] = notes
    return notes


@pytest.mark.parametrize(
    "notes", [{"x": object()}, {"x": torch.ones(2)}, {(1, 2): 3}, circle()]
)
def test_notes_that_json_cannot_hold_are_refused_before_anything(
    tmp_path, notes
):
    with pytest.raises(ValueError, match="^notes: got what JSON cannot hold"):
        checkpoint.save(tmp_path / "run", 1, *trained(), notes)
    assert not (tmp_path / "run").exists()


def test_a_step_before_the_first_is_refused(tmp_path):
    with pytest.raises(ValueError, match="^step: got -1, expected at least 0"):
        checkpoint.save(tmp_path / "run", -1, *trained())


def test_whatever_goes_wrong_meanwhile_nothing_half_done_stays(
    tmp_path, monkeypatch
):
    def stop(*arguments):
        raise KeyboardInterrupt  # a second Ctrl-C

    monkeypatch.setattr(checkpoint, "push_to_disk", stop)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, 1, *trained())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_run_does_not_go_on_with_rounded_weights(tmp_path, dtype):
    checkpoint.save(tmp_path, 2, *trained())
    model, optimizer = trained(seed=1)
    model = model.to(dtype)
    with pytest.raises(ValueError, match="embed.weight is torch.float32, exp"):
        checkpoint.load(tmp_path, model, optimizer)
    checkpoint.load(tmp_path, model)  # to look at it is another matter


WRAPPERS = {
    "compiled": torch.compile,
    "parallel": nn.DataParallel,
    "both": lambda model: torch.compile(nn.DataParallel(model)),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_what_is_wrapped_around_a_model_leaves_no_trace(tmp_path, wrap):
    model, optimizer = trained()
    checkpoint.save(tmp_path / "plain", 2, model, optimizer)
    checkpoint.save(tmp_path / "wrapped", 2, wrap(model), optimizer)
    for source, around in (("wrapped", lambda m: m), ("plain", wrap)):
        other, found = trained(seed=1)
        checkpoint.load(tmp_path / source, around(other), found)
        assert same(everything(other, found), everything(model, optimizer))


def test_a_part_that_was_compiled_keeps_its_name(tmp_path):
    model, optimizer = trained()
    model.middle = torch.compile(model.middle)
    assert "middle._orig_mod.bias" in model.state_dict()
    home = checkpoint.save(tmp_path, 2, model, optimizer)
    names = load_file(home / "model.safetensors").keys()
    assert names == {"embed.weight", "middle.weight", "middle.bias", "seen"}
    checkpoint.load(tmp_path, *trained(seed=1))
    checkpoint.load(tmp_path, model, optimizer)
