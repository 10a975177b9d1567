"""Images to train on, by name: what needs no network.

Legend
images = values from 0 to 1, examples × rows × columns if grey, with the
         channels red, green and blue in front of the rows if coloured
labels = the class of each

Sources
- "digits": Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten
  Digits", UCI Machine Learning Repository; the 1,797 of its test part, which
  scikit-learn brings.
- "shapes": drawn and told by `llmnotes.scenes`.
"""

import numpy as np
from jaxtyping import Float, Int

DIGITS = "1,797 handwritten digits of 8 × 8; ships with scikit-learn"
SHAPES = "one or two things on 16 × 16 in colour; drawn by llmnotes.scenes"


def names() -> dict[str, str]:
    """Every set of images that `images` knows, with one line about it."""
    return {"digits": DIGITS}


def images(
    name: str = "digits",
) -> tuple[
    Float[np.ndarray, "examples rows columns"], Int[np.ndarray, "examples"]
]:
    """All images of a set in float32, and their labels.

    Raises `ValueError` for an unknown name, `RuntimeError` if what brings
    the images is not installed.
    """
    if name not in names():
        raise ValueError(
            f"name: got {name!r}, expected one of {', '.join(names())}"
        )
    try:
        from sklearn.datasets import load_digits  # slow, and only for tests
    except ImportError as error:
        raise RuntimeError(
            "digits: scikit-learn, which brings them, is not installed; "
            "pip install scikit-learn"
        ) from error
    found = load_digits()
    return (found.images / 16).astype(np.float32), found.target


def captioned_names() -> dict[str, str]:
    """Every set that `captioned` knows, with one line about it."""
    return {"shapes": SHAPES}


def captioned(
    name: str = "shapes",
    *,
    count: int = 1000,
    split: str = "train",
    objects: int = 2,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "examples channels rows columns"], list[str]]:
    """So many images of a set in float32, and a caption of each.

    "train" and "test" show the same things at other places, "held_out"
    shows pairs of colour and shape that neither has; `objects` is how many
    things an image shows, 1 or 2. The same seed gives the same images.

    Raises `ValueError` for an unknown name or split, another number of
    objects, and a count below 1.
    """
    if name not in captioned_names():
        raise ValueError(
            f"name: got {name!r}, expected one of "
            f"{', '.join(captioned_names())}"
        )
    if count < 1:
        raise ValueError(f"count: got {count}, expected at least 1")
    from llmnotes import scenes  # not above: it imports torch

    among = scenes.scenes(objects, split == "held_out")
    drawn = scenes.batch(seed, 0, count, among, split=split)
    return drawn.images.numpy(), drawn.captions
