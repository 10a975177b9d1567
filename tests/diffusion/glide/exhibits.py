"""Pictures to look at, with what a program says of each.

spelled = 768 of the digits 0 to f: red, green and blue, each row by row

None is chosen for its looks: they are the first captions that every report
asks for, drawn by the first seed.
"""

import torch

from llmnotes.diffusion.ddim import DPMSolver2M, sample
from llmnotes.diffusion.ddpm.task import generator
from llmnotes.diffusion.glide import runs
from llmnotes.diffusion.glide.inpainting import inpaint
from llmnotes.diffusion.glide.studio import verdict
from llmnotes.diffusion.glide.task import pixels, shown
from llmnotes.diffusion.guidance import ClassifierFree
from llmnotes.scenes import VOCABULARY, draw_all
from tests.diffusion.glide import clips, denoisers, judging

SEED = 0


def spelled(picture) -> str:
    """A picture from 0 to 1 in sixteen levels."""
    levels = (picture.clamp(0, 1) * 15).round().int().flatten()
    return "".join(f"{level:x}" for level in levels.tolist())


def drawn(count, held_out=False):
    """(caption, verdict, picture) of the first captions of a report."""
    denoiser = denoisers.trained(2, SEED, "CLIP")
    captions, _ = runs.asked(count, 2, held_out)
    images = runs.draw(
        denoiser, captions, generator=generator(SEED), scale=2.0,
        steps=judging.STEPS,
    )  # fmt: skip
    return [
        (caption, verdict(image, caption), spelled(image))
        for caption, image in zip(captions, images, strict=True)
    ]


def misled(ways, count):
    """(way, scale, caption, CLIP's cosine, verdict, picture) under CLIP."""
    clip = clips.trained(SEED)
    denoiser = denoisers.trained(judging.ONE, SEED)
    captions, _ = runs.asked(count, judging.ONE)
    ids = VOCABULARY.encode(captions)
    rows = []
    for way, scale in ways:
        x0 = sample(
            judging.choose(way, denoiser, clip, scale),
            (count, 3, 16, 16), ids, generator=generator(SEED),
            steps=judging.STEPS, solver=DPMSolver2M(),
        )  # fmt: skip
        seen = clip.embed_images(x0, torch.zeros(count))
        scores = (seen * clip.clip.embed_texts(ids)).sum(1).tolist()
        rows += [
            (way, scale, caption, score, verdict(image, caption),
             spelled(image))
            for caption, score, image in zip(
                captions, scores, shown(x0), strict=True
            )
        ]  # fmt: skip
    return rows


def filled(count):
    """(caption, what, verdict, picture): known halves, and what was added."""
    denoiser = denoisers.trained(judging.ONE, SEED)
    captions, wanted = runs.asked(count, judging.ONE)
    known = pixels(draw_all(wanted, generator(9)))
    mask = judging.left_half(count)
    ids = VOCABULARY.encode(captions)
    guided = ClassifierFree(denoiser, 2.0)
    added = {"known": torch.where(mask, known, -torch.ones(()))}
    for words, asked, text in (
        ("with the caption", guided, ids),
        ("without", denoiser, None),
    ):
        added[words] = inpaint(
            asked, known, mask, text, generator=generator(SEED),
            steps=judging.STEPS,
        )  # fmt: skip
    return [
        (caption, words, verdict(image, caption), spelled(image))
        for words, x0 in added.items()
        for caption, image in zip(captions, shown(x0), strict=True)
    ]
