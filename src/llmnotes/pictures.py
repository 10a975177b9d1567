"""Images to train on, by name: what needs no network.

Legend
images = grey values from 0 to 1, examples × rows × columns
labels = the class of each

Sources
- "digits": Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten
  Digits", UCI Machine Learning Repository; the 1,797 of its test part, which
  scikit-learn brings.
"""

import numpy as np
from jaxtyping import Float, Int

DIGITS = "1,797 handwritten digits of 8 × 8; ships with scikit-learn"


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
