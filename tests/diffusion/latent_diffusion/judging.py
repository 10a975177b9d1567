"""What a program says of pictures that were drawn, rebuilt or changed.

Every function takes plain values and returns plain numbers, as
`contests.runs` wants; SAID names those that reports of a space begin with.
"""

import torch

from llmnotes import scenes
from llmnotes.diffusion.ddpm.task import generator
from llmnotes.diffusion.glide import runs as glide
from llmnotes.diffusion.latent_diffusion import runs
from tests.diffusion.latent_diffusion import networks

COUNT = 128  # captions of a report
SAID = "all", "sizes", "colours", "shapes"
STEPS = 20


def right(images, wanted):
    """Shares of right attributes, in the order of SAID."""
    found = scenes.share_right(images, wanted)
    return [found[name] for name in SAID]


def share(images, wanted):
    """Share of pictures that show all of their scenes."""
    return right(images, wanted)[0]


def rebuilt(seed):
    """Error, share right, that of random latents; factor, KL and seconds.

    The error is the root of the mean square, pictures from 0 to 1; KL is in
    nats a picture.
    """
    model, seconds = networks.autoencoder(seed)
    drawn = asked()
    again = runs.rebuilt(model, drawn.images)
    error = (again - drawn.images).square().mean().sqrt().item()
    noise = torch.randn(COUNT, 8, 4, 4, generator=generator(seed))
    nothing = clear(runs.decoded(model, noise))
    with torch.no_grad():
        kl = model.encode(2 * drawn.images - 1).kl().mean().item()
    factor = model.config.scaling_factor
    return [error, share(again, drawn.scenes), nothing, factor, kl, seconds]


def clear(images):
    """Share of pictures that show some scene of two things."""
    read = scenes.read_all(images)
    return sum(s is not None and len(s.things) == 2 for s in read) / len(read)


def asked(held_out=False, count=COUNT):
    """Pictures, scenes and captions to draw; the same for all."""
    split = "held_out" if held_out else "test"
    among = scenes.scenes(2, held_out)
    return scenes.batch(9, 0, count, among, split=split)


def latents(target, scale, held_out, seed):
    """What is right of pictures from latents; last both stages' seconds."""
    denoiser, encoder, seconds = networks.of_latents(seed, target)
    drawn = asked(held_out)
    images = runs.draw(
        denoiser, encoder, drawn.captions, generator=generator(seed),
        scale=scale, steps=STEPS,
    )  # fmt: skip
    return [*right(images, drawn.scenes), seconds]


def pixels(target, scale, held_out, seed):
    """The same in pixels."""
    drew = networks.of_pixels(seed, target)
    return drawn_by(*drew, scale, held_out, seed)


def squares(target, scale, held_out, seed):
    """The same in pixels without convolutions."""
    drew = networks.of_squares(seed, target)
    return drawn_by(*drew, scale, held_out, seed)


def drawn_by(denoiser, seconds, scale, held_out, seed):
    """What is right of pictures that a denoiser of pixels draws."""
    drawn = asked(held_out)
    images = glide.draw(
        denoiser, drawn.captions, generator=generator(seed), scale=scale,
        steps=STEPS,
    )  # fmt: skip
    return [*right(images, drawn.scenes), seconds]


def changed(strength, scale, seed):
    """Share right by the new caption and by the old; shift in pixels.

    One thing of each picture is to get another colour. Strength 0 is the
    picture there and back through the autoencoder.
    """
    denoiser, encoder, _ = networks.of_latents(seed)
    drawn = asked()
    wanted = runs.recoloured(drawn.scenes)
    if strength:
        images = runs.changed(
            denoiser, encoder, drawn.images, list(map(scenes.caption, wanted)),
            strength=strength, generator=generator(seed), scale=scale,
            steps=STEPS,
        )  # fmt: skip
    else:
        images = runs.rebuilt(encoder, drawn.images)
    shift = scenes.shifts(images, drawn.images).nanmean().item()
    return [share(images, wanted), share(images, drawn.scenes), shift]
