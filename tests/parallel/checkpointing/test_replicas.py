"""Replicas that differ by a bit are found, and the rank is named."""

import pytest
import torch

from llmnotes.parallel.checkpointing import fingerprint, flip
from llmnotes.parallel.data_parallel import run
from tests.parallel.checkpointing import ranked


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_one_flipped_bit_on_rank_1_is_named(processes, ranks):
    for told in run(ranked.flipped, ranks, processes=processes):
        assert told == (
            "RuntimeError: half: got other bits on rank 1 than on rank 0, "
            "expected the same on all ranks"
        )


def test_every_bit_of_a_tensor_counts():
    x = torch.arange(6.0).bfloat16().view(2, 3)
    right, seen = fingerprint(x), set()
    for number in range(12):
        for bit in range(8):
            flip(x, number, bit)
            seen.add(fingerprint(x))
            flip(x, number, bit)
    assert len(seen) == 96 and right not in seen
    assert fingerprint(x) == right


def test_shape_and_type_count_and_strides_do_not():
    x = torch.arange(6.0).view(2, 3)
    assert fingerprint(x) != fingerprint(x.view(3, 2))
    assert fingerprint(x) != fingerprint(x.view(torch.int32))
    assert fingerprint(x) == fingerprint(x.T.contiguous().T)


def test_a_sum_of_words_by_xor_misses_what_a_sha256_does_not():
    """torch.hash_tensor: words that come in pairs cancel."""
    constant = [torch.full((4,), float(v)) for v in range(3)]
    assert {int(torch.hash_tensor(x)) for x in constant} == {0}
    assert len({fingerprint(x) for x in constant}) == 3
