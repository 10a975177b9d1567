"""GLIDE on the command line."""

from dataclasses import asdict

import pytest
import torch

from llmnotes import checkpoint, scenes
from llmnotes.diffusion.clip import studio as clip_studio
from llmnotes.diffusion.glide import runs, studio
from llmnotes.diffusion.glide.model import DiTConfig
from llmnotes.draw import Studio
from tests.diffusion.clip import tiny

TINY = asdict(DiTConfig(width=16, heads=2, depth=1))


def test_it_is_what_the_command_line_asks_for():
    assert isinstance(studio, Studio)


@pytest.fixture
def short(monkeypatch):
    """A CLIP of two steps."""
    tiny.shorten(monkeypatch)


def test_it_trains_and_draws_in_the_form_of_a_picture(short):
    model = studio.model(TINY, 0)
    history = studio.learn(model, runs.config(steps=1), progress=False)
    assert len(history) == 1
    picture = studio.draw(
        model, "a small red circle above a small blue circle",
        scale=2.0, steps=1,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert picture.shape == (3, 16, 16)


def test_of_two_things_clip_learns_to_read_first(short, tmp_path):
    model = studio.model(TINY, 5)
    config = runs.config(steps=1, seed=5)
    studio.learn(model, config, out=str(tmp_path), progress=False)
    clip = clip_studio.learned(tmp_path / "clip", 5, progress=False)
    again = studio.model(TINY, 0)
    checkpoint.load(tmp_path, again)
    reads = again.network.encoder.tower.state_dict()
    for name, weight in clip.text_model.state_dict().items():
        assert torch.equal(weight, reads[name]), name


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


def test_a_shape_learns_and_draws_its_kind_of_sentence():
    one, two = (studio.model(asdict(runs.SHAPES[n]), 0) for n in (1, 2))
    assert (studio.things(one), studio.things(two)) == (1, 2)
    options = dict(scale=1.0, steps=1, generator=torch.Generator())
    with pytest.raises(ValueError, match=r"got 2 thing\(s\), expected 1"):
        studio.draw(one, "a small red circle above a small blue circle",
                    **options)  # fmt: skip
    with pytest.raises(ValueError, match=r"got 1 thing\(s\), expected 2"):
        studio.draw(two, "a small red circle", **options)
