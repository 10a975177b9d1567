"""Pixels inside of drawings: a reader of PNG by others gives them back."""

import base64
import io

import matplotlib.image
import numpy as np
import pytest

from llmnotes._site.figures import pixels
from llmnotes._site.figures.pen import Pen


def read(values):
    return matplotlib.image.imread(io.BytesIO(pixels.png(values)))


@pytest.mark.parametrize(("rows", "columns"), [(5, 7), (16, 16), (1, 3)])
def test_colours_come_back_to_the_nearest_of_256(rows, columns):
    values = np.random.default_rng(0).random((3, rows, columns))
    found = read(values)
    assert found.shape == (rows, columns, 3)
    np.testing.assert_allclose(
        found, values.transpose(1, 2, 0), atol=0.5 / 255 + 1e-6
    )


def test_grey_has_three_equal_channels_and_the_borders_hold():
    found = read([[-0.5, 0.0, 0.2], [0.6, 1.0, 1.5]])
    for channel in range(3):
        np.testing.assert_allclose(
            found[..., channel], [[0, 0, 0.2], [0.6, 1, 1]], atol=1e-6
        )


def test_a_picture_stands_in_the_drawing_itself_with_hard_edges():
    pen = Pen(40, 40)
    pixels.put(pen, 1, 2, 30, np.zeros((3, 4, 8)))
    svg = pen.svg(label="black")
    held = base64.b64encode(pixels.png(np.zeros((3, 4, 8)))).decode()
    assert f'href="data:image/png;base64,{held}"' in svg
    assert svg.count('width="30" height="15"') == 2  # and its frame
    assert 'image-rendering="pixelated"' in svg
