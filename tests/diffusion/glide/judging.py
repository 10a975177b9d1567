"""What a program says of pictures that trained denoisers have drawn.

Every function takes plain values and returns plain numbers, as
`contests.runs` wants; SAID names those that each begins with.
"""

import torch

from llmnotes import scenes
from llmnotes.diffusion.ddim import DDIM, DPMSolver2M, sample
from llmnotes.diffusion.ddpm.task import generator
from llmnotes.diffusion.glide import runs
from llmnotes.diffusion.glide.clip_guidance import ClipGuidance
from llmnotes.diffusion.glide.inpainting import inpaint
from llmnotes.diffusion.glide.task import pixels, shown
from llmnotes.diffusion.guidance import (
    ClassifierFree,
    Thresholded,
    Unconditional,
)
from llmnotes.scenes import VOCABULARY
from tests.diffusion.glide import clips, denoisers

SAID = "all", "number", "sizes", "colours", "shapes", "relation"
COUNT = 256  # captions of a report
FEW = 128  # of one that is dear
ONE = 1  # thing in the scenes of all reports but the first
STEPS = 20


def right(images, wanted):
    """Shares of right attributes, in the order of SAID."""
    found = scenes.share_right(images, wanted)
    return [found[name] for name in SAID]


def drawn(objects, reads, held_out, scale, seed):
    """What a denoiser draws right; last the CPU seconds of its training."""
    torch.set_num_threads(1)
    denoiser, seconds = denoisers.with_seconds(objects, seed, reads)
    captions, wanted = runs.asked(COUNT, objects, bool(held_out))
    images = runs.draw(
        denoiser, captions, generator=generator(seed), scale=scale,
        steps=STEPS,
    )  # fmt: skip
    return [*right(images, wanted), seconds]


def guided(way, scale, seed):
    """What is right under CLIP's guidance; last CLIP's own cosine."""
    torch.set_num_threads(1)
    clip, denoiser = clips.trained(seed), denoisers.trained(ONE, seed)
    captions, wanted = runs.asked(FEW, ONE)
    ids = VOCABULARY.encode(captions)
    if way == "real":
        x0 = pixels(scenes.draw_all(wanted, generator(seed)))
    else:
        x0 = sample(
            choose(way, denoiser, clip, scale), (FEW, 3, 16, 16), ids,
            generator=generator(seed), steps=STEPS, solver=DPMSolver2M(),
        )  # fmt: skip
    seen = clip.embed_images(x0, torch.zeros(FEW))
    score = (seen * clip.clip.embed_texts(ids)).sum(1).mean().item()
    return [*right(shown(x0), wanted), score]


def choose(way, denoiser, clip, scale):
    """A denoiser that is guided in some way."""
    if way == "classifier-free":
        return ClassifierFree(denoiser, scale)
    if way == "CLIP alone":
        denoiser = Unconditional(denoiser)
    return ClipGuidance(denoiser, clip, scale)


def filled(way, rounds, text, seed):
    """What is right of pictures of which one half was known.

    Last comes the largest change of a known pixel.
    """
    torch.set_num_threads(1)
    denoiser = denoisers.trained(ONE, seed)
    captions, wanted = runs.asked(FEW, ONE)
    known = pixels(scenes.draw_all(wanted, generator(9)))
    mask = left_half(FEW)
    ids = VOCABULARY.encode(captions) if text else None
    asked = ClassifierFree(denoiser, 2.0) if text else denoiser
    draw = generator(seed)
    if way == "guess":
        asked = Thresholded(asked, lambda x0: torch.where(mask, known, x0))
        x0 = sample(
            asked, known.shape, ids, generator=draw, steps=STEPS,
            solver=DDIM(eta=1.0), clip=None,
        )  # fmt: skip
    else:
        x0 = inpaint(
            asked, known, mask, ids, generator=draw, steps=STEPS,
            rounds=rounds,
        )  # fmt: skip
    changed = (x0 - known).abs()[mask.expand_as(x0)].max().item()
    return [*right(shown(x0), wanted), changed]


def left_half(count):
    """Known is the left half of each picture."""
    mask = torch.zeros(count, 1, 16, 16, dtype=torch.bool)
    mask[..., :8] = True
    return mask
