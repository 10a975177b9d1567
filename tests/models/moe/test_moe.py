"""The command line and a Mixtral; and that runs measure what they say."""

import math
import shlex
from dataclasses import replace

import pytest
import torch

from llmnotes import __main__ as cli
from llmnotes import checkpoint, presets
from llmnotes.foundations.tokenizers import train
from llmnotes.models import moe
from llmnotes.models.moe import active_parameters
from llmnotes.transformer.gpt import parameters
from tests.models.moe.training_runs import (
    CONTESTANTS,
    DENSE,
    LARGE,
    MIXTURE,
    bits,
    loss_of,
    specialised,
)

SHORT = "--steps 2 --batch-size 2 --eval-every 2"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder in which a laptop's Mixtral was trained for two steps."""
    folder = tmp_path_factory.mktemp("run")
    text = folder / "song.txt"
    text.write_text("the cat sat on the mat, and the dog on the cat.\n" * 30)
    threads = torch.get_num_threads()
    command = f"train mixtral --data {text} {SHORT} --out {folder / 'out'}"
    assert cli.main(shlex.split(command)) == 0
    torch.set_num_threads(threads)
    return folder / "out"


def test_llmnotes_train_mixtral_keeps_a_mixtral(run):
    about = checkpoint.read(run)["about"]
    assert about["model"] == "mixtral"
    assert about["shape"]["num_local_experts"] == 8
    model = moe.Mixtral(moe.MixtralConfig(**about["shape"]))
    checkpoint.load(run, model)
    assert all(p.isfinite().all() for p in model.parameters())


def test_llmnotes_sample_writes_with_it(run, capsys):
    command = f"sample {run} --prompt 'the cat' --length 9"
    assert cli.main(shlex.split(command)) == 0
    written = capsys.readouterr().out
    assert written.startswith("the cat") and len(written) >= 7 + 9


def test_what_is_trained_is_balanced():
    entry = presets.MODELS["mixtral"]
    assert entry.task == "llmnotes.models.moe:Balanced"
    assert moe.LAPTOP.router_aux_loss_coef > 0


def test_llmnotes_sample_writes_with_a_folder_of_hugging_face(
    tmp_path, capsys
):
    pieces = train("to be or not to be " * 9, 262)
    moe.save_pretrained(
        moe.Mixtral(replace(moe.LAPTOP, vocab_size=262)), tmp_path
    )
    pieces.save(tmp_path)
    assert cli.main(["sample", str(tmp_path), "--prompt", "to be"]) == 0
    assert capsys.readouterr().out.startswith("to be")


def test_contestants_have_the_flops_or_the_parameters_of_the_mixture():
    made = {name: kind(shape) for name, (kind, shape) in CONTESTANTS.items()}
    mixture, routers = made[MIXTURE], 4 * 8 * 128
    assert active_parameters(mixture) - routers == parameters(made[DENSE])
    assert parameters(mixture) - routers == parameters(made[LARGE])


def test_by_hand_bits_are_all_or_none():
    even = torch.arange(64)
    assert bits(even % 8, even % 8) == pytest.approx(3)
    assert bits(even % 8, even // 8) == pytest.approx(0)
    one, other = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    # H(¼, ¾) − ½ · H(½, ½)
    right = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75)) - 0.5
    assert bits(one, other) == pytest.approx(right)


def test_a_contestant_can_be_trained():
    ids = torch.arange(900) % 65
    assert loss_of(MIXTURE, 2e-3, 0, ids, ids[:200], steps=1) < 5


@pytest.mark.usefixtures("tiny_shakespeare")
def test_what_experts_are_asked_for_is_measured_in_each_layer():
    layers, loss = specialised(0.02, 0, steps=1, longest=4000)
    assert len(layers) == 4 and 3 < loss < 6
    for source, character, busiest in layers:
        assert 0 <= source <= 1
        assert 0 < character <= 3
        assert 1 / 8 <= busiest <= 1 / 2
