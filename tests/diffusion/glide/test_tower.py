"""CLIP's text tower as encoder: the same vectors, and it learns nothing."""

import copy

import pytest
import torch

from llmnotes.diffusion.clip import runs as clip_runs
from llmnotes.diffusion.glide import DiTConfig, Tower, runs
from llmnotes.diffusion.glide.task import EMPTY
from llmnotes.scenes import VOCABULARY

CAPTIONS = ["a small red circle", "we see a large blue square over a small "
            "green triangle"]  # fmt: skip
IDS = VOCABULARY.encode(CAPTIONS)
TINY = DiTConfig(width=8, depth=1, heads=2)


@pytest.fixture(scope="module")
def clip():
    return clip_runs.untrained(seed=3).eval()


@pytest.fixture(scope="module")
def tower(clip):
    return Tower(clip, EMPTY)


def test_it_says_what_clips_text_tower_says(clip, tower):
    read = tower(IDS)
    assert torch.equal(read.summary, clip.text_model(IDS))
    assert torch.equal(read.vectors, clip.text_model.hidden(IDS))
    assert read.visible.sum(1).tolist() == [6, 13]  # with begin and end
    assert tower.width == read.vectors.shape[2]


def test_padding_is_not_seen(tower):
    short = tower(IDS[:1, :6])
    long = tower(IDS[:1])
    torch.testing.assert_close(short.vectors, long.vectors[:, :6])
    torch.testing.assert_close(short.summary, long.summary)


def test_it_is_a_copy_that_does_not_learn_and_clip_still_could(clip):
    denoiser = runs.reading(clip, TINY)
    before = copy.deepcopy(denoiser.network.encoder.state_dict())
    learned = runs.task(denoiser, objects=2, size=8)
    runs.learn(denoiser, learned, runs.config(8, seed=0), progress=False)
    after = denoiser.network.encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    frozen = denoiser.network.encoder.parameters()
    assert not any(p.requires_grad for p in frozen)
    assert all(p.requires_grad for p in clip.parameters())
    assert denoiser.network.dit.write.weight.abs().max() > 0


def test_nothing_is_the_empty_caption(tower):
    assert tower.silence(2).tolist() == [list(EMPTY)] * 2
    assert tower.nothing(IDS[:, :5]).tolist() == [list(EMPTY[:5])] * 2
    assert tower.nothing(IDS).dtype == IDS.dtype


@pytest.mark.parametrize(
    "ids, message",
    [
        (IDS.float(), "ids: got torch.float32, expected an integer dtype"),
        (IDS + 30, "ids: got 30 to "),
        (IDS[:, :2], "ids: got caption 0 without eos_token_id"),
    ],
)
def test_misfits_are_named(tower, ids, message):
    with pytest.raises(ValueError, match=message):
        tower(ids)


def test_the_empty_caption_is_one(clip):
    with pytest.raises(ValueError, match="empty: got"):
        Tower(clip, (0, 0))
