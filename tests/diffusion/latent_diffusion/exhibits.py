"""Pictures to look at: there and back, random latents, and changed ones.

None is chosen for its looks: they are the first pictures of every report,
by the networks of the first seed.
"""

import torch

from llmnotes import scenes
from llmnotes.diffusion.ddpm.task import generator
from llmnotes.diffusion.glide.studio import verdict
from llmnotes.diffusion.latent_diffusion import runs
from tests.diffusion.glide.exhibits import spelled
from tests.diffusion.latent_diffusion import judging, networks

SEED = 0


def told(figure, what, captions, images):
    """(figure, what, caption, verdict, picture) of some pictures."""
    return [
        (figure, what, caption, verdict(image, caption), spelled(image))
        for caption, image in zip(captions, images, strict=True)
    ]


def rebuilt(count):
    """Pictures, the same there and back, and decoded random latents."""
    model, _ = networks.autoencoder(SEED)
    drawn = judging.asked(count=count)
    noise = torch.randn(count, 8, 4, 4, generator=generator(SEED))
    shown = {
        "picture": drawn.images,
        "there and back": runs.rebuilt(model, drawn.images),
        "random latents": runs.decoded(model, noise),
    }
    return [
        row
        for what, images in shown.items()
        for row in told("rebuilt", what, drawn.captions, images)
    ]


def changed(count, strengths, scale):
    """Pictures, and what became of them; the caption is the new one."""
    denoiser, encoder, _ = networks.of_latents(SEED)
    drawn = judging.asked(count=count)
    wanted = list(map(scenes.caption, runs.recoloured(drawn.scenes)))
    rows = told("changed", "picture", wanted, drawn.images)
    for strength in strengths:
        images = runs.changed(
            denoiser, encoder, drawn.images, wanted, strength=strength,
            generator=generator(SEED), scale=scale, steps=judging.STEPS,
        )  # fmt: skip
        rows += told("changed", f"strength {strength:g}", wanted, images)
    return rows
