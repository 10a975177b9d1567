"""Training in two stages on captioned shapes: minutes on one core.

autoencoder = learns alone, a minute; then its latents are measured, scaled
              to a deviation of 1, and it learns no more
denoiser    = GLIDE's patch transformer: 16 tokens, each a place of the
              latents where in pixels it is a square of 4 × 4, and no
              convolutions: the autoencoder has them
target      = "data", "velocity" or "noise", by the names that ddpm knows

Sources
- Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion
  Models", arXiv 2112.10752, §3 and appendix G (scaling).
- Meng et al. 2022, "SDEdit", arXiv 2108.01073 (`changed`).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes import scenes, train
from llmnotes.diffusion.clip import CLIP
from llmnotes.diffusion.ddim import DPMSolver2M, Solver, sample, visited
from llmnotes.diffusion.ddpm import Denoiser, Schedule, cosine
from llmnotes.diffusion.ddpm.runs import TARGETS
from llmnotes.diffusion.ddpm.task import generator
from llmnotes.diffusion.glide import Captions, DiT, DiTConfig, Tower
from llmnotes.diffusion.glide import runs as glide
from llmnotes.diffusion.glide.task import EMPTY, pixels, shown
from llmnotes.diffusion.guidance import ClassifierFree
from llmnotes.diffusion.latent_diffusion.autoencoder import (
    Autoencoder,
    scaling_factor,
)
from llmnotes.diffusion.latent_diffusion.config import (
    SMALL_AUTOENCODER,
    AutoencoderConfig,
)
from llmnotes.diffusion.latent_diffusion.img2img import redraw
from llmnotes.diffusion.latent_diffusion.task import Encoding, LatentDrawing
from llmnotes.modes import evaluating
from llmnotes.scenes import VOCABULARY, Scene

LATENTS = DiTConfig(channels=8, rows=4, columns=4, patch=1, depth=5)
AUTOENCODER_STEPS, AUTOENCODER_RATE, AUTOENCODER_SIZE = 500, 6e-3, 32
WEIGHT = 2e-3  # of KL
STEPS, SIZE = 850, 64
MEASURED = 512  # pictures whose latents say the scaling factor
learn, config = glide.learn, glide.config  # of the second stage


def untrained_autoencoder(
    shape: AutoencoderConfig = SMALL_AUTOENCODER, seed: int = 0
) -> Autoencoder:
    """An autoencoder that has seen no picture yet."""
    torch.manual_seed(seed)
    return Autoencoder(shape)


def encoding(
    autoencoder: Autoencoder,
    objects=2,
    seed=0,
    size=AUTOENCODER_SIZE,
    weight=WEIGHT,
) -> Encoding:
    """What the first stage learns: scenes, but the held-out pairs."""
    among, shape = scenes.scenes(objects), autoencoder.config
    return Encoding(shape, among, size=size, seed=seed, weight=weight)


def learn_autoencoder(
    autoencoder: Autoencoder, learned: Encoding, config: train.TrainConfig,
    **options,
) -> train.History:  # fmt: skip
    """Train in place, then scale. `options` are those of `fit`."""
    optimizer = train.adamw(autoencoder, config)
    found = train.fit(
        autoencoder, learned, config, optimizer=optimizer, **options
    )
    rescale(autoencoder, measured(learned.among))
    return found


def measured(among: Sequence[Scene]) -> Float[Tensor, "batch _ rows columns"]:
    """Pictures to measure the latents on: always the same."""
    return pixels(scenes.batch(1, 0, MEASURED, among).images)


def rescale(
    autoencoder: Autoencoder,
    pictures: Float[Tensor, "batch channels rows columns"],
) -> None:
    """Set its scaling factor to what pictures say: their latents get std 1.

    Source: Rombach et al. 2022, appendix G.
    """
    with evaluating(autoencoder):
        latents = autoencoder.encode(pictures).sample(generator(0))
    shape = replace(autoencoder.config, scaling_factor=scaling_factor(latents))
    autoencoder.config = shape


def untrained(
    shape: DiTConfig = LATENTS, target: str = "data", seed: int = 0,
    encoder: nn.Module | None = None,
) -> Denoiser:  # fmt: skip
    """A denoiser of latents that knows nothing yet.

    An encoder that can read already takes the place of its own.
    """
    torch.manual_seed(seed)
    network = DiT(shape, encoder or Captions(glide.WORDS))
    return Denoiser(network, Schedule(cosine()), TARGETS[target]())


def reading(
    clip: CLIP, shape: DiTConfig = LATENTS, target: str = "data", seed=0
) -> Denoiser:
    """The same; CLIP's text tower reads for it."""
    return untrained(shape, target, seed, Tower(clip, EMPTY))


def task(
    denoiser: Denoiser, autoencoder: Autoencoder, objects=2, seed=0,
    size=SIZE, drop=0.1,
) -> LatentDrawing:  # fmt: skip
    """What the second stage learns."""
    among, steps = scenes.scenes(objects), denoiser.schedule.steps
    return LatentDrawing(
        autoencoder, among, steps=steps, size=size, seed=seed, drop=drop
    )


def draw(
    denoiser: Denoiser, autoencoder: Autoencoder, captions: Sequence[str], *,
    generator: torch.Generator, scale: float = 2.0, steps: int = 20,
    solver: Solver | None = None,
) -> Float[Tensor, "batch channels rows columns"]:  # fmt: skip
    """A picture for each caption, from 0 to 1; no latent is clipped."""
    ids, shape = VOCABULARY.encode(captions), denoiser.network.config
    size = len(ids), shape.channels, shape.rows, shape.columns
    latents = sample(
        ClassifierFree(denoiser, scale), size, ids, steps=steps,
        generator=generator, solver=solver or DPMSolver2M(), clip=None,
    )  # fmt: skip
    return decoded(autoencoder, latents)


def changed(
    denoiser: Denoiser, autoencoder: Autoencoder,
    images: Float[Tensor, "batch channels rows columns"],
    captions: Sequence[str], *, strength: float,
    generator: torch.Generator, scale: float = 2.0, steps: int = 20,
    solver: Solver | None = None,
) -> Float[Tensor, "batch channels rows columns"]:  # fmt: skip
    """Pictures from 0 to 1, changed into what captions say: `redraw`."""
    with evaluating(autoencoder):
        latents = autoencoder.to_latents(pixels(images))
    found = redraw(
        ClassifierFree(denoiser, scale), latents,
        visited(denoiser.schedule.steps, steps), VOCABULARY.encode(captions),
        strength=strength, generator=generator,
        solver=solver or DPMSolver2M(),
    )  # fmt: skip
    return decoded(autoencoder, found)


def decoded(
    autoencoder: Autoencoder,
    latents: Float[Tensor, "batch channels rows columns"],
) -> Float[Tensor, "batch _ _ _"]:
    """Pictures from 0 to 1 of scaled latents."""
    with evaluating(autoencoder):
        return shown(autoencoder.to_pictures(latents))


def rebuilt(
    autoencoder: Autoencoder,
    images: Float[Tensor, "batch channels rows columns"],
) -> Float[Tensor, "batch channels rows columns"]:
    """Pictures from 0 to 1, there and back: the best a denoiser can do."""
    with evaluating(autoencoder):
        return shown(autoencoder(pixels(images))[0])


def recoloured(wanted: Sequence[Scene], seed: int = 0) -> list[Scene]:
    """The same scenes, one thing of each in another colour; none held out."""
    draw = generator(seed)
    found = []
    for scene in wanted:
        others = [one for one in near(scene) if not one.held_out]
        found.append(others[torch.randint(len(others), (), generator=draw)])
    return found


def near(scene: Scene) -> list[Scene]:
    """All scenes that differ in the colour of one thing."""
    found = []
    for i, thing in enumerate(scene.things):
        for colour in scenes.COLOURS:
            things = list(scene.things)
            things[i] = replace(thing, colour=colour)
            found.append(Scene(tuple(things), scene.relation))
    return [one for one in found if one != scene]
