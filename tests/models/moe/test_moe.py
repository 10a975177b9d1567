"""That the command line trains a Mixtral and lets it write."""

import shlex

import pytest
import torch

from llmnotes import __main__ as cli
from llmnotes import checkpoint, presets
from llmnotes.models import moe

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
