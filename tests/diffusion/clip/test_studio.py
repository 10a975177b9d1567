"""CLIP on the command line: it trains, is found again, and draws nothing."""

from dataclasses import asdict, replace

import pytest
import torch

from llmnotes import checkpoint, presets
from llmnotes.diffusion.clip import runs, studio
from llmnotes.diffusion.clip.task import LAPTOP
from llmnotes.draw import Studio
from tests.diffusion.clip import tiny


@pytest.fixture
def short(monkeypatch):
    """Training of two steps."""
    tiny.shorten(monkeypatch)


def test_it_is_what_the_command_line_asks_for():
    assert isinstance(studio, Studio)


def test_a_shape_makes_its_model():
    model = studio.model(asdict(LAPTOP), 3)
    assert model.config == LAPTOP
    again, other = (runs.untrained(seed=seed) for seed in (3, 4))
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    one, two = (m.text_projection.weight for m in (model, other))
    assert not torch.equal(one, two)


def test_what_has_learned_is_found_again(tmp_path, monkeypatch, short):
    first = studio.learned(tmp_path / "clip", seed=1, progress=False)
    monkeypatch.setattr(studio.runs.train, "update", None)  # no more of it
    again = studio.learned(tmp_path / "clip", seed=1, progress=False)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    assert not again.training
    about = checkpoint.read(tmp_path / "clip")["about"]
    assert about == {"model": "clip", "shape": asdict(LAPTOP)}
    untrained = runs.untrained(seed=1).text_projection.weight
    assert not torch.equal(first.text_projection.weight, untrained)


def test_a_clip_draws_nothing_and_says_so():
    told = "got a CLIP, which draws nothing; expected a run of llmnotes train"
    with pytest.raises(ValueError, match=told):
        studio.check("a small red circle")
    with pytest.raises(ValueError, match=told):
        studio.verdict(torch.zeros(3, 16, 16), "a small red circle")
    draw = torch.Generator()
    with pytest.raises(ValueError, match=told):
        studio.draw(runs.untrained(), "a", scale=1.0, steps=1, generator=draw)


def test_the_preset_trains_as_the_chapter_does():
    training = presets.PICTURES["clip"].preset(None).training
    chapters = runs.config(every=training.eval_every)
    assert replace(training, batch_size=1) == chapters
    assert training.batch_size == runs.task().size
