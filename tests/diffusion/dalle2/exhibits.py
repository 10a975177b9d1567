"""Pictures to look at, with what a program says of each.

spelled = 768 of the digits 0 to f: red, green and blue, each row by row

None is chosen for its looks: they are the first captions that every report
asks for, drawn by the first seed; CLIP's scale was held at 100.
"""

from llmnotes.diffusion.dalle2 import draw
from llmnotes.diffusion.dalle2.task import of_captions
from llmnotes.diffusion.ddpm.task import generator
from llmnotes.diffusion.glide.runs import asked
from llmnotes.diffusion.glide.studio import verdict
from tests.diffusion.dalle2 import judging, models
from tests.diffusion.glide.exhibits import spelled

SEED = 0


def ways(names, count):
    """(way, which draw, caption, verdict, picture) of the first captions.

    `names` holds a way and how many pictures of it are shown, at most two:
    the second has another noise, and another embedding if the way draws one.
    """
    clip, (decoder, _) = models.clip(SEED, True), models.decoder(SEED, True)
    captions, wanted = asked(count)
    texts = of_captions(clip, captions)
    rows = []
    for way, pictures in names:
        said, _ = judging.embeddings(way, clip, texts, wanted, SEED, True)
        for i, z in enumerate(said[:pictures]):
            found = draw(
                decoder, z, generator=generator(SEED, i),
                scale=judging.SCALE, steps=judging.STEPS,
            )  # fmt: skip
            rows += [
                (way, i, caption, verdict(image, caption), spelled(image))
                for caption, image in zip(captions, found, strict=True)
            ]
    return rows
