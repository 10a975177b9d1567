"""Lengths are given in one way to every model that takes them."""

import numpy as np
import pytest
import torch

from llmnotes.sequence.gru import GRU
from llmnotes.sequence.rnn import RNN
from llmnotes.sequence.seq2seq import Seq2Seq
from llmnotes.sequence.seq2seq.decoding import beam_search, greedy
from llmnotes.transformer.transformer import Transformer, TransformerConfig
from llmnotes.transformer.transformer.alignment import alignment

TARGET = torch.tensor([[1, 4], [1, 5], [1, 3]])
SOURCE = torch.tensor([[3, 4, 5, 6], [7, 3, 0, 0], [4, 0, 0, 0]])


def readers():
    """{argument: [a function of the lengths, ...]}, freshly seeded."""
    torch.manual_seed(0)
    x = torch.randn(3, 4, 5)
    both = RNN(5, 7, 2, bidirectional=True)
    model = Seq2Seq(GRU, 9, 9, 6)
    other = Transformer(TransformerConfig(9, 8, 2, 1, 16, dropout=0.0))
    pair = SOURCE, TARGET
    return {
        "lengths": [lambda n: both(x, lengths=n)[0]],
        "source_lengths": [
            lambda n: model(*pair, n),
            lambda n: other(*pair, n),
            lambda n: alignment(other, *pair, n),
            lambda n: greedy(model, SOURCE, n, max_length=3),
            lambda n: (
                beam_search(other, SOURCE, n, beam=2, max_length=3).tokens
            ),
        ],
    }


GOOD = {
    "list": [4, 2, 1],
    "tuple": (4, 2, 1),
    "array": np.array([4, 2, 1]),
    "int32": torch.tensor([4, 2, 1], dtype=torch.int32),
    "uint8": torch.tensor([4, 2, 1], dtype=torch.uint8),
    "uint16 array": np.array([4, 2, 1], dtype=np.uint16),
}


@pytest.mark.parametrize("given", GOOD.values(), ids=GOOD)
def test_lists_arrays_and_all_integers_are_lengths(given):
    for reads in readers().values():
        for read in reads:
            torch.testing.assert_close(
                read(given), read(torch.tensor([4, 2, 1]))
            )


BAD = {
    "got torch.float32, expected an integer dtype": [4.0, 2.0, 1.0],
    "got torch.bool, expected an integer dtype": [True, True, True],
    "got batch 2, expected x's 3": [4, 2],
    "got shape (3, 1), expected (batch,)": [[4], [2], [1]],
    "got shape (), expected (batch,)": 4,
    "got batch 0, expected x's 3": [],
    "got 0 to 4, expected 1 to 4": [4, 0, 1],
    "got 1 to 5, expected 1 to 4": torch.tensor([5, 2, 1]),
    "got -1 to 4, expected 1 to 4": np.array([4, -1, 1]),
    "got 'abc', expected 3 whole numbers": "abc",
    "got [[1], [2, 3]], expected 3 whole numbers": [[1], [2, 3]],
}


@pytest.mark.parametrize(("message", "given"), BAD.items(), ids=BAD)
def test_anything_else_is_named_in_the_same_words(message, given):
    for name, reads in readers().items():
        for read in reads:
            with pytest.raises(ValueError) as error:
                read(given)
            said = str(error.value).replace("source's", "x's")
            assert said == f"{name}: {message}"
