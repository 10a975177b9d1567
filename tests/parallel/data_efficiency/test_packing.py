"""Packing: nothing lost, nothing seen, nothing learned across documents."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from llmnotes.parallel.data_efficiency import packing
from llmnotes.parallel.data_efficiency.packing import Piece
from llmnotes.transformer.gpt import GPT, GPTConfig

A, B, END, C, D = 1, 2, 9, 3, 4


def small(seed=0, vocab=11, block=12):
    torch.manual_seed(seed)
    model = GPT(GPTConfig(vocab, block, 12, 2, 3)).double().eval()
    for p in model.parameters():  # biases and positions that matter
        torch.nn.init.normal_(p, std=0.3)
    return model


def documents_of(*sizes, vocab=11, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(vocab, (n,), generator=generator) for n in sizes]


def one_row(documents, block):
    rows = packing.cut([len(d) for d in documents], block)
    return packing.packed(documents, rows, block)


def test_by_hand_lengths_5_2_3_1_lose_nothing_in_rows_of_4():
    rows = packing.best_fit([5, 2, 3, 1], 4)
    documents = torch.arange(1, 12).split([5, 2, 3, 1])
    ids = packing.packed(documents, rows, 4).ids.tolist()
    assert ids == [[1, 2, 3, 4], [8, 9, 10, 5], [6, 7, 11, 0]]
    assert packing.filled(rows, 4) == 11 / 12
    assert packing.share_cut(rows, 4) == 1 / 4  # only the one of five


@given(
    st.lists(st.integers(0, 23), min_size=1, max_size=30), st.integers(1, 9)
)
def test_every_token_is_in_exactly_one_piece(sizes, block):
    for rows in (packing.best_fit(sizes, block), packing.cut(sizes, block)):
        found = sorted(
            (p.document, at)
            for row in rows
            for p in row
            for at in range(p.start, p.stop)
        )
        assert found == [
            (d, at) for d, n in enumerate(sizes) for at in range(n)
        ]
        lengths = [sum(p.stop - p.start for p in row) for row in rows]
        assert max(lengths, default=0) <= block


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_best_fit_cuts_nothing_that_fits(sizes):
    rows = packing.best_fit(sizes, 9)
    assert packing.share_cut(rows, len(sizes)) == 0
    used = [sum(p.stop - p.start for p in row) for row in rows]
    # Any two rows are fuller than one together, else they would be one.
    assert all(a + b > 9 for i, a in enumerate(used) for b in used[:i])


@pytest.mark.parametrize(("size", "block"), [(101, 256), (7, 8), (300, 256)])
def test_one_document_in_so_many_is_cut(size, block):
    documents = block * 5
    rows = packing.cut([size] * documents, block)
    found = packing.share_cut(rows, documents)
    assert found == pytest.approx(packing.chance_cut(size, block), abs=1e-12)


def test_a_second_document_has_the_logits_that_it_has_alone():
    model, documents = small(), documents_of(5, 4, 3)
    row = one_row(documents, 12)
    seen = packing.visible(row.segments)
    together = packing.logits(model, row.ids, row.places, seen)[0]
    for document, said in zip(
        documents, together.split([5, 4, 3]), strict=True
    ):
        torch.testing.assert_close(
            said, model(document[None])[0], rtol=0, atol=1e-12
        )


def test_gradients_of_packed_documents_are_those_of_each_alone():
    model, documents = small(), documents_of(5, 4, 3)
    row = one_row(documents, 12)
    seen = packing.visible(row.segments)
    said = packing.logits(model, row.ids, row.places, seen)
    F.cross_entropy(
        said.flatten(0, 1), row.targets.flatten(), reduction="sum"
    ).backward()
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    for document in documents:
        alone = model(document[None, :-1])[0]
        F.cross_entropy(alone, document[1:], reduction="sum").backward()
    for ours, p in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(ours, p.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("way", ["nothing", "positions begin anew", "mask"])
def test_only_a_mask_hides_the_first_document(way):
    model, (first, second) = small(), documents_of(5, 4)
    other = (first + 1) % 11

    def said(before):
        row = one_row([before, second], 9)
        places = row.places if way != "nothing" else torch.arange(9)[None]
        seen = packing.visible(row.segments) if way == "mask" else None
        return packing.logits(model, row.ids, places, seen)[0, 5:]

    moved = (said(first) - said(other)).abs().max()
    assert moved == 0 if way == "mask" else moved > 0.01


def test_without_a_mask_it_is_the_model_itself():
    model, row = small(), one_row(documents_of(5, 7), 12)
    said = packing.logits(model, row.ids, torch.arange(12)[None], None)
    torch.testing.assert_close(said, model(row.ids), rtol=0, atol=1e-12)


def test_by_hand_the_first_token_of_a_document_is_no_target():
    documents = [torch.tensor([A, B, END]), torch.tensor([C, D])]
    row = one_row(documents, 6)
    none = -100
    assert row.ids.tolist() == [[A, B, END, C, D, 0]]
    assert row.targets.tolist() == [[B, END, none, D, none, none]]
    assert row.segments.tolist() == [[1, 1, 1, 2, 2, 0]]
    assert row.places.tolist() == [[0, 1, 2, 0, 1, 0]]


def test_the_mean_over_targets_does_not_know_how_it_was_packed():
    model, documents = small(), documents_of(8, 3, 5, 2)

    def mean(rows, block):
        row = packing.packed(documents, rows, block)
        said = packing.logits(
            model, row.ids, row.places, packing.visible(row.segments)
        )
        return F.cross_entropy(said.flatten(0, 1), row.targets.flatten())

    padded = mean([[Piece(i, 0, len(d))] for i, d in enumerate(documents)], 8)
    packed = mean(packing.best_fit([8, 3, 5, 2], 9), 9)
    torch.testing.assert_close(packed, padded, rtol=0, atol=1e-12)


def test_a_padded_place_is_finite_and_nobodys():
    model, documents = small(), documents_of(3)
    row = packing.packed(documents, [[Piece(0, 0, 3)]], 7)
    said = packing.logits(
        model, row.ids, row.places, packing.visible(row.segments)
    )
    assert said.isfinite().all()
    seen = packing.visible(row.segments)[0, 0]
    assert not seen[:3, 3:].any() and not seen[3:, :3].any()


def test_refusals():
    with pytest.raises(ValueError, match="rows: got 5 tokens in row 0, exp"):
        packing.packed(documents_of(5), [[Piece(0, 0, 5)]], 4)
    with pytest.raises(ValueError, match="block: got 0, expected"):
        packing.best_fit([3], 0)
    with pytest.raises(ValueError, match="rows: got 0, expected"):
        packing.filled(packing.best_fit([], 4), 4)
