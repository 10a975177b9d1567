"""CLIP guidance: the gradient of a logit, and where it is put."""

import pytest
import torch

from llmnotes.diffusion.clip import (
    CLIP,
    CLIPConfig,
    TextConfig,
    VisionConfig,
)
from llmnotes.diffusion.clip.looker import ShapesCLIP
from llmnotes.diffusion.clip.task import LAPTOP
from llmnotes.diffusion.glide.clip_guidance import (
    AsIfClean,
    ClipGuidance,
    NoisedCLIP,
    logits,
    towards,
)
from llmnotes.diffusion.guidance import Unconditional
from tests.diffusion.glide import small

TOWER = dict(
    hidden_size=8, intermediate_size=16, num_hidden_layers=1,
    num_attention_heads=2,
)  # fmt: skip
SHAPE = CLIPConfig(
    TextConfig(
        **TOWER, vocab_size=7, max_position_embeddings=5, eos_token_id=6
    ),
    VisionConfig(**TOWER, image_size=6, patch_size=3, num_channels=2),
    projection_dim=5,
)
IDS = small.IDS


def clip(kind=NoisedCLIP):
    torch.manual_seed(0)
    found = kind(SHAPE) if kind is NoisedCLIP else AsIfClean(CLIP(SHAPE))
    return found.double()


def given():
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(3, 2, 6, 6, generator=draw, dtype=torch.float64)
    return x, torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)


@pytest.mark.parametrize("kind", (NoisedCLIP, AsIfClean))
def test_the_pull_is_the_slope_of_the_logit(kind):
    noised, (x, time) = clip(kind), given()
    pull = towards(noised, x, time, IDS)
    small_step = 1e-6 * torch.randn_like(x)
    up = logits(noised, x + small_step, time, IDS)
    down = logits(noised, x - small_step, time, IDS)
    found = (pull * 2 * small_step).sum((1, 2, 3))
    torch.testing.assert_close(found, up - down, rtol=1e-5, atol=1e-12)


def test_the_logit_is_clips_own():
    noised, (x, time) = clip(AsIfClean), given()
    own = noised.clip(x, IDS).diagonal()
    torch.testing.assert_close(logits(noised, x, time, IDS), own)


def test_only_a_noised_clip_sees_the_time():
    (x, time), later = given(), torch.full((3,), 0.7).double()
    for kind, sees in ((NoisedCLIP, True), (AsIfClean, False)):
        noised = clip(kind)
        now = noised.embed_images(x, time)
        then = noised.embed_images(x, later)
        assert torch.allclose(now, then) != sees


def test_x0_moves_by_the_scaled_pull_and_noise_against_it():
    net = small.stirred(
        small.DiT(
            small.DiTConfig(
                channels=2, rows=6, columns=6, patch=3, width=12, depth=1,
                heads=3, context=10,
            ),
            small.captions(),
        )
    ).double()  # fmt: skip
    denoiser, noised = small.denoiser(net), clip()
    guided = ClipGuidance(denoiser, noised, 2.5)
    x, t = given()[0], torch.tensor([5, 12, 19])
    pull = towards(noised, x, t / 20, IDS)
    alpha, sigma = denoiser.schedule.alpha(t, x), denoiser.schedule.sigma(t, x)
    torch.testing.assert_close(
        guided.data(x, t, IDS) - denoiser.data(x, t, IDS),
        2.5 * sigma**2 / alpha * pull,
    )
    # Dhariwal & Nichol's algorithm 2: ε - s σ ∇ log p.
    torch.testing.assert_close(
        guided.noise(x, t, IDS),
        denoiser.noise(x, t, IDS) - 2.5 * sigma * pull,
    )
    alone = ClipGuidance(Unconditional(denoiser), noised, 0.0)
    assert torch.equal(alone.data(x, t, IDS), denoiser.data(x, t))


def test_no_weight_gets_a_gradient_and_no_grad_does_not_stop_it():
    noised, (x, time) = clip(), given()
    with torch.no_grad():
        assert towards(noised, x, time, IDS).abs().sum() > 0
    with torch.inference_mode():
        assert towards(noised, x, time, IDS).abs().sum() > 0
    assert all(p.grad is None for p in noised.parameters())
    assert x.grad is None and not x.requires_grad


def test_each_picture_is_pulled_by_its_own_caption():
    noised, (x, time) = clip(), given()
    whole = towards(noised, x, time, IDS)
    alone = towards(noised, x[1:2], time[1:2], IDS[1:2])
    torch.testing.assert_close(whole[1:2], alone)


@pytest.mark.parametrize(
    "scale, condition, message",
    [
        (float("nan"), IDS, "scale: got nan, expected a finite number"),
        (1.0, None, "condition: got NoneType, expected ids of captions"),
    ],
)
def test_scales_and_conditions_that_cannot_be_are_refused(
    scale, condition, message
):
    denoiser = small.denoiser(small.network())
    x, t = small.pictures(), torch.tensor([3, 3, 3])
    with pytest.raises(ValueError, match=message):
        ClipGuidance(denoiser, clip(), scale).data(x, t, condition)


def test_a_noised_clip_is_of_the_kind_that_was_asked_for():
    model = NoisedCLIP(LAPTOP, ShapesCLIP)
    assert type(model.clip) is ShapesCLIP
    x = torch.randn(2, 3, 16, 16)
    early, late = (model.embed_images(x, torch.full((2,), t))
                   for t in (0.0, 1.0))  # fmt: skip
    assert early.shape == (2, 64) and not torch.allclose(early, late)
    moved = {id(p) for p in model.h.parameters()}
    assert id(model.clip.vision_model.top.weight) in moved
