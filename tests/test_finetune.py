"""`llmnotes finetune` and `sample --adapter`, proved."""

import shlex
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from llmnotes import __main__ as cli
from llmnotes import commands, finetune, presets
from llmnotes.adaptation.lora import load_adapter, using
from llmnotes.transformer import gpt
from tests import command_line

SONG = "the cat sat on the mat, and the dog sat on the cat.\n" * 8
OTHER = "a dog, a cat, a mat.\n" * 16
RUN = "train gpt --data ./song.txt --preset tiny --steps 6 --out run"
TUNE = "finetune run --data ./other.txt --lora 2 --steps 6 --out adapter"


@pytest.fixture(autouse=True)
def small_world(monkeypatch, tmp_path, capsys):
    """Two texts of one's own, and a run that has read the first."""
    tiny = gpt.GPTConfig(99, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    monkeypatch.setattr(gpt, "TINY", tiny, raising=False)
    training = replace(presets.SMALL, block=8, warmup=2)
    preset = presets.Preset("llmnotes.transformer.gpt:TINY", training)
    monkeypatch.setitem(presets.MODELS["gpt"].presets, "tiny", preset)
    monkeypatch.chdir(tmp_path)
    for name, words in (("song", SONG), ("other", OTHER), ("q", "qqq" * 99)):
        (tmp_path / f"{name}.txt").write_text(words)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert cli.main(shlex.split(RUN)) == 0
    capsys.readouterr()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def llmnotes(capsys):
    """Run a command: exit status, lines on stdout, lines on stderr."""
    return partial(command_line.called, capsys)


def test_the_adapter_is_two_files_and_the_run_is_not_touched(
    llmnotes, tmp_path
):
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*.s*")}
    status, out, _ = llmnotes(TUNE)
    assert status == 0
    assert out[-1].startswith("final validation loss ")
    assert out[-1].endswith(", adapter adapter")
    names = {p.name for p in (tmp_path / "adapter").glob("adapter_*")}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}
    assert all(p.read_bytes() == body for p, body in before.items())


def test_sampling_with_it_is_the_model_with_the_adapter_beside_it(llmnotes):
    llmnotes(TUNE.replace("--lora 2", "--lora 4 --learning-rate 0.05"))
    _, plain, _ = llmnotes("sample run --prompt a --length 30")
    status, tuned, _ = llmnotes(
        "sample run --adapter adapter --prompt a --length 30"
    )
    assert status == 0 and tuned != plain
    model, vocabulary = commands.recall("run")
    ids = vocabulary.encode("a dog")[None]
    merged = commands.with_adapter(commands.recall("run")[0], "adapter")
    beside = load_adapter(model, "adapter")
    torch.testing.assert_close(merged(ids), beside(ids))
    with using(beside):
        torch.testing.assert_close(beside(ids), commands.recall("run")[0](ids))


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    llmnotes, tmp_path, monkeypatch
):
    llmnotes(TUNE)
    whole = load_file(tmp_path / "adapter/adapter_model.safetensors")
    second = TUNE.replace("adapter", "second") + " --eval-every 2"
    original = finetune.save_adapter

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(finetune, "save_adapter", stop)
    status, _, err = llmnotes(second)
    assert status == 130 and err[-1].endswith(f"{second} --resume")
    monkeypatch.setattr(finetune, "save_adapter", original)
    assert llmnotes(f"{second} --resume")[0] == 0
    again = load_file(tmp_path / "second/adapter_model.safetensors")
    assert again.keys() == whole.keys()
    assert all(torch.equal(x, whole[name]) for name, x in again.items())


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (TUNE.replace("run", "nobody", 1), "nobody: got no checkpoint"),
        (TUNE.replace("other", "q"), "--data: got 'q' at position 0"),
        (TUNE.replace("other", "none"), "--data: got './none.txt'"),
        (TUNE.replace("--lora 2", "--lora 9"), "--lora: got 9, expected at"),
        (TUNE.replace("--lora 2", "--lora 0"), "--lora: got 0, expected an"),
        (TUNE.replace("--lora 2 ", ""), "required: --lora"),
        (TUNE.replace("--out adapter", "--out run"), "--out: got run, the"),
        ("sample run --adapter run", "adapter_config.json: cannot be read"),
    ],
)
def test_a_mistake_is_one_line(llmnotes, command, message, tmp_path):
    status, out, err = llmnotes(command)
    assert status == 2 and not out and len(err) == 1
    assert message in err[0]
    assert not (tmp_path / "adapter").exists()


def test_a_folder_with_a_files_name_is_told_before_training(
    llmnotes, tmp_path
):
    (tmp_path / "adapter/adapter_model.safetensors").mkdir(parents=True)
    status, out, err = llmnotes(TUNE)
    assert status == 2 and not out
    assert err == [
        "llmnotes: adapter/adapter_model.safetensors: is no file, expected "
        "one that can be replaced"
    ]
    assert len(list((tmp_path / "adapter").iterdir())) == 1


def test_an_adapter_of_another_run_is_one_line(llmnotes):
    llmnotes(TUNE)
    llmnotes(RUN.replace("--out run", "--out second --seed 1"))
    status, _, err = llmnotes("sample second --adapter adapter")
    assert status == 2 and "got an adapter of another base" in err[0]
