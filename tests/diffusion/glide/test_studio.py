"""GLIDE on the command line."""

from dataclasses import asdict, replace
from functools import partial
from pkgutil import resolve_name

import pytest
import torch

from llmnotes import presets, scenes
from llmnotes.diffusion.glide import runs, studio
from llmnotes.diffusion.glide.model import DiTConfig
from llmnotes.draw import Studio
from tests import command_line

SHAPE = DiTConfig(width=16, heads=2, depth=1)
TINY = asdict(SHAPE)
ENTRY = presets.PICTURES["glide"]


@pytest.fixture
def llmnotes(monkeypatch, tmp_path, capsys):
    """Run a command in a folder of its own, where a tiny preset is."""
    few = replace(ENTRY.preset(None).training, steps=2, eval_every=2)
    tiny = presets.Preset(f"{__name__}:SHAPE", few)
    monkeypatch.setitem(ENTRY.presets, "tiny", tiny)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield partial(command_line.called, capsys)
    torch.set_num_threads(threads)


def test_it_is_what_the_command_line_asks_for():
    assert isinstance(studio, Studio)


def test_it_trains_and_draws_in_the_form_of_a_picture(tmp_path):
    model = studio.model(TINY, 0)
    history = studio.learn(model, runs.config(steps=1), progress=False)
    assert len(history) == 1
    picture = studio.draw(
        model, "a small red circle", scale=2.0, steps=1,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert picture.shape == (3, 16, 16)


def test_verdicts_name_what_is_wrong():
    picture = scenes.draw(
        scenes.parse("a small red circle"), torch.Generator().manual_seed(0)
    )
    right = studio.verdict(picture, "there is a small red circle")
    assert right == "right in every attribute"
    wrong = studio.verdict(picture, "a small blue square")
    assert wrong == "wrong: colours, shapes"


def test_unknown_words_are_refused():
    with pytest.raises(
        ValueError, match="unknown word 'purple' at position 2"
    ):
        studio.check("a small purple circle")


def test_the_preset_is_the_chapters_network_and_training():
    preset = ENTRY.preset(None)
    assert resolve_name(preset.shape) == runs.TWO
    every, size = preset.training.eval_every, preset.training.batch_size
    assert size == runs.SIZE
    assert preset.training == replace(
        runs.config(every=every), batch_size=size
    )


def test_a_sentence_becomes_a_file_and_a_verdict(llmnotes):
    status, out, _ = llmnotes("train glide --preset tiny --out run")
    assert (status, out[-1][-11:]) == (0, "step-000002")
    status, out, _ = llmnotes(
        "draw run 'a small red circle left of a large blue square' "
        "--scale 2 --steps 2 --out picture.png"
    )
    assert status == 0
    assert out[0].startswith("picture.png: wrong: ")


@pytest.mark.parametrize(
    "caption, said",
    [
        ("a small purple circle",
         "got the unknown word 'purple' at position 2, expected a known one; "
         "the nearest is 'square'"),
        ("a small red circle",
         "got one thing, expected two and how they stand: sentences of one "
         "were not learned"),
    ],
)  # fmt: skip
def test_what_was_not_learned_is_one_line(llmnotes, caption, said):
    llmnotes("train glide --preset tiny --out run")
    status, _, err = llmnotes(f"draw run '{caption}' --out picture.png")
    assert (status, err[-1]) == (2, f"llmnotes: caption: {said}")
