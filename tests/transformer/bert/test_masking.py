"""The 80/10/10 rule, counted."""

import numpy as np
import pytest
import torch

from llmnotes import data
from llmnotes.transformer.bert import masking
from llmnotes.transformer.bert.files import load_wordpiece, minilm_folder
from llmnotes.transformer.bert.masking import UNASKED, hide

V, MASK = 50, 50


def some_ids(batch=300, length=700, seed=0):
    torch.manual_seed(seed)
    return torch.randint(V, (batch, length))


def hidden(ids, **options):
    return hide(
        ids, **{"mask_id": MASK, "vocab_size": V, "seed": 0, "step": 0}
        | options
    )  # fmt: skip


def test_of_a_hundred_tokens_12_are_masked_and_1_5_replaced():
    # 0.15 · 0.8 = 0.12; 0.15 · 0.1 = 0.015, of which 1 in 50 draws itself.
    ids = some_ids()
    inputs, labels = hidden(ids)
    n = ids.numel()
    asked, masked = labels != UNASKED, inputs == MASK
    other = (inputs != ids) & ~masked
    expected = {
        0.15: asked,
        0.12: masked,
        0.015 * (1 - 1 / V): other,
        0.015 * (1 + 1 / V): asked & (inputs == ids),
    }
    for share, found in expected.items():
        std = (share * (1 - share) / n) ** 0.5
        assert found.sum().item() / n == pytest.approx(share, abs=4 * std)


def test_labels_are_the_text_where_it_is_asked_and_nowhere_else():
    ids = some_ids(3, 50)
    inputs, labels = hidden(ids)
    asked = labels != UNASKED
    assert torch.equal(labels[asked], ids[asked])
    assert torch.equal(inputs[~asked], ids[~asked])


def test_replacements_are_any_token_alike():
    ids = some_ids()
    inputs, labels = hidden(ids, share=1.0)
    swapped = inputs[(inputs != MASK) & (inputs != ids)]
    counts = torch.bincount(swapped, minlength=V).double()
    assert counts.numel() == V
    assert (counts / counts.mean() - 1).abs().max() < 6 / counts.mean().sqrt()


def test_special_tokens_are_never_chosen():
    tokenizer = load_wordpiece(minilm_folder())
    ids, mask = tokenizer.batch(["a short text", "[MASK] and [UNK]"] * 50)
    inputs, labels = hide(
        ids,
        mask_id=tokenizer.ids["[MASK]"],
        vocab_size=len(tokenizer.vocabulary),
        never=tokenizer.special_ids,
        share=1.0,
        seed=0,
        step=0,
    )
    special = torch.isin(ids, torch.tensor(tokenizer.special_ids))
    assert special.sum() == 300
    assert (labels[special] == UNASKED).all()
    assert torch.equal(inputs[special], ids[special])
    assert (labels[~special] == ids[~special]).all()


def test_seed_and_step_decide_everything():
    ids = some_ids(2, 90)
    state = torch.get_rng_state()
    first = hidden(ids, seed=3, step=5)
    assert torch.equal(torch.get_rng_state(), state)
    again = hidden(ids, seed=3, step=5)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for other in (hidden(ids, seed=4, step=5), hidden(ids, seed=3, step=6)):
        assert not torch.equal(first[0], other[0])


def test_the_three_decisions_are_independent():
    ids = some_ids()
    inputs, labels = hidden(ids, share=0.5)
    asked = labels != UNASKED
    # A neighbour's fate says nothing about a token's own.
    both = (asked[:, 1:] & asked[:, :-1]).double().mean().item()
    assert both == pytest.approx(0.25, abs=0.005)
    masked = (inputs == MASK) & asked
    below = (masked[1:] & asked[:-1]).double().mean().item()
    assert below == pytest.approx(0.5 * 0.4, abs=0.005)


def test_where_a_text_is_cut_does_not_say_what_is_hidden():
    # data.batch draws from the same key: its bits must not come again here.
    starts, _ = data.batch(
        torch.arange(1009), batch_size=90, block=1, seed=7, step=9
    )
    ours = masking.random_bits((90,), 7, 9) % np.uint64(1008)
    assert (torch.from_numpy(ours.astype("i8")) == starts[:, 0]).sum() < 5


def test_unasked_tokens_do_not_count_in_the_mean():
    logits, ids = torch.randn(2, 5, V), some_ids(2, 5)
    labels = torch.full((2, 5), UNASKED)
    labels[1, 3] = ids[1, 3]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1),
                                             labels.flatten())  # fmt: skip
    right = -logits[1, 3].log_softmax(-1)[ids[1, 3]]
    torch.testing.assert_close(loss, right)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_shares_that_cannot_be_are_named(share):
    with pytest.raises(ValueError, match=f"^share: got {share}"):
        hidden(some_ids(1, 3), share=share)


@pytest.mark.parametrize("change", [{"mask_id": -1}, {"vocab_size": 0}])
def test_sizes_that_cannot_be_are_named(change):
    (name,) = change
    with pytest.raises(ValueError, match=f"^{name}: got {change[name]}"):
        hidden(some_ids(1, 3), **change)
