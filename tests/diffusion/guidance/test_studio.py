"""What the command line's digits claim, proved on a run of few steps."""

import dataclasses

import pytest
import torch

from llmnotes import presets
from llmnotes.diffusion.ddpm import runs
from llmnotes.diffusion.guidance import studio
from llmnotes.draw import Studio
from llmnotes.train import History

TINY = {"width": 16, "depth": 1}


@pytest.fixture(scope="module")
def model():
    model = studio.model(TINY, seed=0)
    studio.learn(model, runs.config(steps=3), progress=False)
    return model


def test_it_is_what_the_command_line_asks_for():
    assert isinstance(studio, Studio)


def test_the_preset_is_the_chapters_network():
    assert studio.PRESET == runs.SMALL
    assert studio.TRAINING.steps == runs.STEPS
    assert dataclasses.asdict(studio.PRESET)["classes"] == 10


def test_classes_are_hidden_while_it_learns(monkeypatch):
    seen = {}

    def learn(model, task, config):
        seen["drop"] = task.drop
        return History()

    monkeypatch.setattr(runs, "learn", learn)
    studio.learn(studio.model(TINY, 0), runs.config(steps=1))
    assert seen == {"drop": studio.DROP}


def test_it_draws_one_picture_within_bounds_and_again_the_same(model):
    first, again, other = (
        studio.draw(
            model, "7", scale=2.0, steps=3,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (1, 1, 2)
    )  # fmt: skip
    assert first.shape == (1, 8, 8)
    assert 0 <= first.min() and first.max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("caption", ["12", "x", "", "٣", " 3"])
def test_what_is_no_digit_is_refused(model, caption):
    said = f"caption: got {caption!r}, expected a digit, 0 to 9"
    with pytest.raises(ValueError) as error:
        studio.check(caption)
    assert str(error.value) == said


def test_a_real_digit_is_read():
    pictures, classes = studio.quality.digits()[1]
    picture, digit = (pictures[:1] + 1) / 2, int(classes[0])
    said = f"a classifier of real digits reads {digit}"
    assert studio.verdict(picture, str(digit)) == f"{said}: right"
    assert studio.verdict(picture, str((digit + 1) % 10)) == f"{said}: wrong"


def test_the_command_lines_training_is_the_chapters():
    preset = presets.PICTURES["ddpm"].preset(None)
    assert preset.training == studio.TRAINING
