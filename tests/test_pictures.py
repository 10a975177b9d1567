"""Images by name: what they are, and what is said when there are none."""

import sys

import numpy as np
import pytest
import sklearn.datasets

from llmnotes import data, pictures


def test_the_digits_are_scikit_learns_between_0_and_1():
    found, labels = data.images("digits")
    pixels, classes = sklearn.datasets.load_digits(return_X_y=True)
    assert found.dtype == np.float32 and found.shape == (1797, 8, 8)
    assert (found.min(), found.max()) == (0, 1)
    np.testing.assert_array_equal(found.reshape(1797, -1) * 16, pixels)
    np.testing.assert_array_equal(labels, classes)


def test_every_name_is_listed_with_what_it_is_and_can_be_had():
    for name, about in pictures.names().items():
        found, labels = pictures.images(name)
        assert len(found) == len(labels) and about


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="^name: got 'cats'.*one of digits"):
        data.images("cats")


def test_without_scikit_learn_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(RuntimeError, match="digits: .*pip install scikit-l"):
        data.images("digits")
