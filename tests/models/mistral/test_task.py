"""What the retrieval task claims, proved; and that it can be learned."""

import pytest
import torch

from llmnotes.models.mistral.task import (
    ASK,
    NOISE,
    WORDS,
    Needle,
    needles,
)
from tests.models.mistral.retrieval_runs import CONTESTANTS, built, found


def test_one_word_stands_where_it_was_asked_for():
    back = torch.tensor([1, 4, 8])
    ids, word = needles(9, back, torch.Generator().manual_seed(0))
    assert ids[:, -1].eq(ASK).all()
    for row, answer, b in zip(ids, word, back, strict=True):
        assert row[8 - b] == answer
        others = torch.cat([row[: 8 - b], row[9 - b : -1]])
        assert (others < NOISE).all()
    assert ((word >= NOISE) & (word < ASK)).all()


def test_batches_are_those_of_their_step():
    task = Needle(9, 5, seed=3)
    later = task.batch(7)
    task.batch(2)
    for a, b in zip(later, Needle(9, 5, seed=3).batch(7), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(later[0], task.batch(8)[0])


@pytest.mark.parametrize("name", CONTESTANTS)
def test_nothing_is_known_beyond_the_reach(name):
    layers, window = CONTESTANTS[name]
    model = built(name).eval()
    ids, _ = needles(48, torch.tensor([40]), torch.Generator())
    other = ids.clone()
    other[0, 7] = NOISE + (ids[0, 7] - NOISE + 1) % WORDS
    same = torch.equal(model(ids)[:, -1], model(other)[:, -1])
    assert same == (window is not None and layers * (window - 1) < 40)


def test_a_run_trains_and_judges_each_distance():
    wrong, *shares = found("two layers, window 8", 3e-3, 0, steps=3)
    assert 0 <= wrong <= 1 and len(shares) == 8
    assert all(0 <= share <= 1 for share in shares)


def test_a_word_outside_the_text_is_refused():
    with pytest.raises(ValueError, match="back: got 9 to 9, expected 1 to 8"):
        needles(9, torch.tensor([9]), torch.Generator())
