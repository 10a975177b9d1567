"""Latent diffusion on the command line: three stages, each found again."""

from dataclasses import asdict, replace

import pytest
import torch

from llmnotes import checkpoint
from llmnotes.diffusion.clip import studio as clip_studio
from llmnotes.diffusion.latent_diffusion import runs, studio
from llmnotes.draw import Studio
from tests.diffusion.clip import tiny

TINY = asdict(replace(runs.LATENTS, width=16, heads=2, depth=1))
CAPTION = "a small red circle above a small blue circle"
CONFIG = runs.config(steps=1, seed=5)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """A CLIP and an autoencoder of two steps each."""
    tiny.shorten(monkeypatch)
    monkeypatch.setattr(runs, "AUTOENCODER_STEPS", 2)


def drawn(model):
    draw = torch.Generator().manual_seed(0)
    return studio.draw(model, CAPTION, scale=2.0, steps=2, generator=draw)


def test_it_is_what_the_command_line_asks_for():
    assert isinstance(studio, Studio)


def test_what_was_trained_is_read_again_and_draws_the_same(tmp_path):
    model = studio.model(TINY, 5)
    studio.learn(model, CONFIG, out=str(tmp_path), progress=False)
    picture = drawn(model.eval())
    assert picture.shape == (3, 16, 16)
    again = studio.model(TINY, 0)
    checkpoint.load(tmp_path, again)
    assert torch.equal(drawn(again.eval()), picture)


def test_each_stage_has_its_folder_and_stays_as_it_is(tmp_path):
    model = studio.model(TINY, 5)
    studio.learn(model, CONFIG, out=str(tmp_path), progress=False)
    clip = clip_studio.learned(tmp_path / "clip", 5, progress=False)
    tower = model.network.encoder.tower.state_dict()
    for name, weight in clip.text_model.state_dict().items():
        assert torch.equal(weight, tower[name]), name
    small = runs.untrained_autoencoder()
    checkpoint.load(tmp_path / "autoencoder", small)
    for name, weight in small.state_dict().items():
        assert torch.equal(weight, model.autoencoder.state_dict()[name])


def test_other_sentences_are_refused():
    model = studio.model(TINY, 0)
    with pytest.raises(ValueError, match=r"got 1 thing\(s\), expected 2"):
        studio.check("a small red circle")
    draw = torch.Generator()
    with pytest.raises(ValueError, match=r"got 1 thing\(s\), expected 2"):
        studio.draw(
            model, "a small red circle", scale=1.0, steps=1, generator=draw
        )
    with pytest.raises(ValueError, match="unknown word 'purple'"):
        studio.check("a small purple circle")
