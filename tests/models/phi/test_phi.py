"""That the experiments compare what they say."""

import random
from collections import Counter

import pytest
import torch

from llmnotes.models.phi import LAPTOP, ParallelBlock, Phi
from llmnotes.transformer.gpt import parameters
from tests.models.phi.blocks import SerialBlock, chain, kept
from tests.models.phi.training_runs import (
    CLEAN,
    TEXTS,
    SerialPhi,
    fewer,
    letters,
    lines,
)

TEXT = "\n".join(f"line {i} of a text, which is long" for i in range(400))


@pytest.mark.parametrize("name", TEXTS)
def test_noise_leaves_the_size_of_a_text(name):
    spoil, share = TEXTS[name]
    spoilt = spoil(TEXT, share, random.Random(0))
    if spoil is fewer:
        share_left = len(spoilt) / len(TEXT)
        assert share_left == pytest.approx(1 - share, abs=0.08)
        assert set(spoilt.split("\n")) <= set(TEXT.split("\n"))
    else:
        assert len(spoilt) == len(TEXT)
    assert set(spoilt) <= set(TEXT)
    assert (spoilt == TEXT) == (name == CLEAN)


def test_letters_are_replaced_as_often_as_said():
    spoilt = letters(TEXT, 0.2, random.Random(0))
    changed = sum(a != b for a, b in zip(TEXT, spoilt, strict=True))
    expected = 0.2 * (1 - 1 / len(set(TEXT)))  # some draw themselves
    assert changed / len(TEXT) == pytest.approx(expected, rel=0.1)


def test_a_shuffled_line_keeps_its_letters_and_its_place():
    spoilt = lines(TEXT, 0.5, random.Random(0)).split("\n")
    before = TEXT.split("\n")
    assert [Counter(a) for a in spoilt] == [Counter(b) for b in before]
    same = sum(a == b for a, b in zip(spoilt, before, strict=True))
    assert same / len(before) == pytest.approx(0.5, abs=0.1)


def test_serial_and_parallel_differ_by_a_norm_in_each_layer():
    torch.manual_seed(0)
    serial, side = SerialPhi(LAPTOP), Phi(LAPTOP)
    norms = LAPTOP.num_hidden_layers * 2 * LAPTOP.hidden_size
    assert parameters(serial) - parameters(side) == norms
    text = torch.randint(65, (2, 9))
    assert serial(text).isfinite().all()


def test_the_parallel_block_is_shorter_and_keeps_less():
    torch.manual_seed(0)
    width = LAPTOP.hidden_size
    serial, side = SerialBlock(LAPTOP, 0), ParallelBlock(LAPTOP, 0)
    assert (chain(serial, width), chain(side, width)) == (6, 4)
    assert kept(serial, width) - kept(side, width) == 2 * width + 2
