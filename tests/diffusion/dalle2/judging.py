"""What a program says of pictures that priors and decoders have drawn.

Every function takes plain values and returns plain numbers, as
`contests.runs` wants; RIGHT names those that each begins with.

way   = where a picture's embedding comes from
real  = it is a real picture's: what a prior is to be like
apart = with the CLIP whose scale was held, see `models`
"""

import functools

import torch

from llmnotes import scenes
from llmnotes.diffusion.dalle2 import (
    BestOf,
    Components,
    DiffusionPrior,
    MeanOf,
    angle,
    draw,
    halved,
    runs,
    scaled,
    varied,
)
from llmnotes.diffusion.dalle2.codes import Codes
from llmnotes.diffusion.dalle2.task import (
    Guessing,
    Known,
    of_captions,
    of_pictures,
)
from llmnotes.diffusion.ddim import DPMSolver2M, sample
from llmnotes.diffusion.ddpm.task import generator
from llmnotes.diffusion.glide.runs import asked
from llmnotes.diffusion.glide.task import pixels, shown
from llmnotes.train import fit
from tests.diffusion.dalle2 import models

RIGHT = "all", "number", "sizes", "colours", "shapes", "relation"
COUNT = 128  # captions of a report, each drawn twice
FEW = 64  # pictures of one that is dear
STEPS, SCALE = 10, 2.0
BACK = 25  # steps into noise, and back


class Clipped(DiffusionPrior):
    """Bounds an embedding as if it were a picture."""

    def guess(self, texts, generator):
        """Each guess is clipped to 1."""
        return sample(
            self.denoiser, tuple(texts.shape), texts, generator=generator,
            steps=self.steps, solver=DPMSolver2M(), clip=1.0,
        )  # fmt: skip


class Unit(DiffusionPrior):
    """Learned from unit vectors, and asked about them."""

    def guess(self, texts, generator):
        """Embeddings in the size in which CLIP hands them on."""
        return super().guess(texts / texts.shape[1] ** 0.5, generator)


def prior(way, seed, apart=False):
    """A prior by the words of a bench; its CPU seconds."""
    if way == "unit vectors":
        return unit(seed)
    name = way if way in runs.PRIORS else "diffusion"
    found, seconds = models.prior(name, seed, apart)
    if way == "scale 2":
        found.scale = 2.0
    elif way == "one step":
        found.steps = 1
    elif way == "clipped to 1":
        found = Clipped(found.denoiser.network)
    elif way == "best of 2":
        found = BestOf(found, 2)
    elif way == "mean of 8":
        found = MeanOf(found, 8)
    return found, seconds


def unit(seed):
    """A diffusion prior that learned from embeddings of length 1."""
    learned, judged = map(shrunk, models.pairs(seed))
    torch.manual_seed(seed)
    made = Unit(runs.network(learned))

    def teach(folder):
        task = Guessing(
            learned, judged, size=runs.SIZES["diffusion"], seed=seed
        )
        config = runs.config(*runs.RECIPES["diffusion"], seed)
        fit(made, task, config, out=folder, progress=False)

    return models.kept(made, teach, "unit vectors", seed)


def shrunk(pairs):
    """The same pairs as unit vectors."""
    size = pairs.images.shape[1] ** 0.5
    return Known(pairs.texts / size, pairs.images / size, pairs.scenes)


def right(images, wanted):
    """Shares of right attributes, in the order of RIGHT."""
    found = scenes.share_right(images, wanted)
    return [found[name] for name in RIGHT]


def seen(wanted, clip, *numbers):
    """Embeddings of real pictures of some scenes."""
    return of_pictures(clip, scenes.draw_all(wanted, generator(*numbers)))


def near(one, other):
    """Mean cosine of rows."""
    return angle(one, other).cos().mean().item()


def drawn(way, held_out, apart, seed):
    """What is right of two pictures of each caption.

    Then come the cosine to a real picture's embedding and to the caption's,
    how far the things of both pictures lie apart, and CPU seconds of the
    prior's and of the decoder's training.
    """
    torch.set_num_threads(1)
    clip = models.clip(seed, apart)
    decoder, took = models.decoder(seed, apart)
    captions, wanted = asked(COUNT, 2, held_out)
    texts, real = of_captions(clip, captions), seen(wanted, clip, seed, 9)
    said, seconds = embeddings(way, clip, texts, wanted, seed, apart)
    images = [
        draw(decoder, z, generator=generator(seed, i), scale=SCALE,
             steps=STEPS)
        for i, z in enumerate(said)
    ]  # fmt: skip
    return [
        *right(torch.cat(images), wanted * 2),
        near(said[0], real), near(said[0], texts),
        scenes.shifts(*images).nanmean().item(), seconds, took,
    ]  # fmt: skip


def embeddings(way, clip, texts, wanted, seed, apart=False):
    """Two embeddings for each caption, and the seconds of their prior."""
    if way in ("real", "coded"):
        said = [seen(wanted, clip, seed, i) for i in range(2)]
        if way == "coded":
            codes = Codes(models.pairs(seed, apart)[0].images)
            said = [scaled(codes.decode(codes.encode(z))) for z in said]
        return said, 0.0
    found, seconds = prior(way, seed, apart)
    said = [found.drawn(texts, generator(seed, i)) for i in range(2)]
    return said, seconds


@functools.cache
def pictures(seed):
    """Real pictures of scenes that were not learned from."""
    found = scenes.batch(seed, 77, FEW, scenes.scenes(2), split="test")
    return found.images, found.scenes


def variations(way, eta, scale, seed):
    """What variations keep of their scene; then how far off they are.

    That is: root of the mean squared error, and pixels that things moved.
    """
    torch.set_num_threads(1)
    clip, (decoder, _) = models.clip(seed), models.decoder(seed)
    images, wanted = pictures(seed)
    if way == "another picture":
        found = scenes.draw_all(wanted, generator(seed, 5))
    elif way == "other noise":
        z = of_pictures(clip, images)
        found = draw(
            decoder, z, generator=generator(seed), scale=scale, steps=STEPS
        )
    else:
        halves = halved(clip, decoder, pixels(images), steps=BACK)
        x0 = varied(
            decoder, halves, eta=eta, scale=scale, steps=BACK,
            generator=generator(seed),
        )  # fmt: skip
        found = shown(x0)
    error = (found - images).square().mean().sqrt().item()
    moved = scenes.shifts(found, images).nanmean().item()
    return [*right(found, wanted), error, moved]


def components(kept, seed):
    """What is right if only the first axes of real embeddings are told.

    Last comes the share of their variance that these have.
    """
    torch.set_num_threads(1)
    clip, (decoder, _) = models.clip(seed), models.decoder(seed)
    axes = Components(models.pairs(seed)[0].images, kept)
    images, wanted = pictures(seed)
    z = of_pictures(clip, images)
    told = scaled(axes.back(axes.along(z)))
    found = draw(
        decoder, told, generator=generator(seed), scale=SCALE, steps=STEPS
    )
    return [*right(found, wanted), axes.share.item()]


def floors(apart, seed):
    """What the loss of a diffusion prior means, in numbers of this CLIP.

    The loss of saying the mean of all pictures, and of saying the mean of
    each caption's pictures; mean cosines of two pictures of one scene, of a
    picture and its caption, and of pictures of two scenes.
    """
    torch.set_num_threads(1)
    clip = models.clip(seed, apart)
    learned, _ = models.pairs(seed, apart)
    every = (learned.images - learned.images.mean(0)).square().mean().item()
    _, wanted = asked(COUNT, 2)
    many = torch.stack([seen(wanted, clip, seed, i) for i in range(8)])
    each = many.var(0, unbiased=True).mean().item()
    texts = of_captions(clip, [scenes.caption(s) for s in wanted])
    pairs = (many[1], texts, many[0].roll(1, 0))
    return [every, each, *(near(many[0], other) for other in pairs)]
