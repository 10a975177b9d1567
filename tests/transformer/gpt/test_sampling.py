"""What the GPT chapter claims of sampling and of counting, proved."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from llmnotes.transformer.gpt import GPT, GPTConfig
from llmnotes.transformer.gpt.bigram import (
    Bigram,
    bigram_loss,
    cycles,
    pair_counts,
    unigram_loss,
)
from llmnotes.transformer.gpt.sampling import (
    generate,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    next_distribution,
)

TIES = torch.tensor([[1.0, 2, 2, 2, 0]])
TINY = GPTConfig(vocab_size=13, n_positions=6, n_embd=12, n_layer=1, n_head=3)


class Recorder(nn.Module):
    """Always the same logits; remembers what it was shown."""

    n_positions = 4

    def __init__(self, logits):
        super().__init__()
        self.logits, self.seen, self.modes = torch.tensor(logits), [], []

    def forward(self, ids):
        self.seen.append(ids.clone())
        self.modes.append(self.training)
        return self.logits.expand(*ids.shape, -1)


def kept(logits):
    return (logits > -math.inf).nonzero()[:, 1].tolist()


def test_top_k_keeps_k_also_when_there_are_ties():
    assert kept(keep_top_k(TIES, 2)) == [1, 2]
    # Comparing with the k-th largest keeps them all.
    assert (TIES >= TIES.topk(2).values[:, -1:]).sum() == 3


def test_top_k_above_the_vocabulary_keeps_everything():
    assert torch.equal(keep_top_k(TIES, 99), TIES)
    assert torch.equal(
        next_distribution(TIES, top_k=99), next_distribution(TIES)
    )


def test_top_p_keeps_the_fewest_that_reach_p():
    logits = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()
    assert kept(keep_top_p(logits, 0.39)) == [1]
    assert kept(keep_top_p(logits, 0.41)) == [1, 3]
    assert kept(keep_top_p(logits, 0.69)) == [1, 3]
    assert kept(keep_top_p(logits, 0.71)) == [1, 2, 3]
    assert kept(keep_top_p(logits, 1e-9)) == [1]


def test_top_p_of_1_keeps_even_the_unlikeliest():
    logits = torch.linspace(0, -80, 100)[None]
    assert kept(keep_top_p(logits, 1.0)) == list(range(100))
    # The running sum rounds to 1 long before the last token.
    assert (logits.softmax(-1).cumsum(-1) == 1).any()


def test_min_p_scales_with_the_likeliest():
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()
    assert kept(keep_min_p(logits, 0.0)) == [0, 1, 2, 3]
    assert kept(keep_min_p(logits, 0.25)) == [0, 1, 2]
    assert kept(keep_min_p(logits, 1.0)) == [0]


def test_temperature_0_is_greedy_and_takes_the_first_of_equals():
    assert next_distribution(TIES, temperature=0).tolist() == [[0, 1, 0, 0, 0]]


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-45])
def test_a_tiny_temperature_shares_between_ties_and_stays_finite(temperature):
    got = next_distribution(TIES * 1e4, temperature=temperature)
    torch.testing.assert_close(got, torch.tensor([[0, 1, 1, 1, 0]]) / 3)


def test_temperature_divides_the_logits():
    torch.manual_seed(0)
    logits = torch.randn(2, 7)
    torch.testing.assert_close(
        next_distribution(logits, temperature=2.5), (logits / 2.5).softmax(-1)
    )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(-30, 30), min_size=1, max_size=9),
    st.floats(0, 9),
    st.one_of(st.none(), st.integers(1, 12)),
    st.one_of(st.none(), st.floats(1e-3, 1)),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_any_options_leave_a_distribution_with_the_likeliest(
    logits, temperature, top_k, top_p, min_p
):
    logits = torch.tensor([logits])
    got = next_distribution(
        logits,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
    )
    assert got.sum().item() == pytest.approx(1, abs=1e-5)
    assert got[0, logits.argmax()] == got.max() > 0
    assert top_k is None or (got > 0).sum() <= top_k


def test_filters_equal_hugging_face():
    import transformers as hf

    torch.manual_seed(0)
    logits = torch.randn(3, 17)
    for ours, theirs in (
        (keep_top_k(logits, 5), hf.TopKLogitsWarper(5)),
        (keep_top_p(logits, 0.7), hf.TopPLogitsWarper(0.7)),
        (keep_min_p(logits, 0.2), hf.MinPLogitsWarper(0.2)),
    ):
        torch.testing.assert_close(ours, theirs(None, logits.clone()))


def test_draws_have_the_frequencies_of_the_distribution():
    model = Recorder([0.0, 1.0, 2.0, -math.inf])
    ids = torch.zeros(4000, 1, dtype=torch.long)
    new = generate(model, ids, 1, generator=torch.Generator().manual_seed(0))[
        :, -1
    ]
    share = new.bincount(minlength=4) / len(new)
    torch.testing.assert_close(
        share, model.logits.softmax(-1), atol=0.03, rtol=0
    )
    assert share[3] == 0


def test_the_same_seed_draws_the_same_text_and_another_one_does_not():
    torch.manual_seed(0)
    model, ids = GPT(TINY), torch.zeros(2, 1, dtype=torch.long)

    def run(seed):
        generator = torch.Generator().manual_seed(seed)
        return generate(model, ids, 12, generator=generator)

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_generation_feeds_back_and_shows_the_last_n_positions():
    torch.manual_seed(0)
    model = Recorder([0.0, 5.0, 0.0])
    out = generate(model, torch.tensor([[2, 0, 2]]), 4, temperature=0)
    assert out.tolist() == [[2, 0, 2, 1, 1, 1, 1]]
    assert [s.tolist()[0] for s in model.seen] == [
        [2, 0, 2], [2, 0, 2, 1], [0, 2, 1, 1], [2, 1, 1, 1],
    ]  # fmt: skip


def test_generation_is_in_evaluation_mode_and_restores_the_mode():
    model = Recorder([0.0, 1.0])
    for training in (True, False):
        model.train(training)
        generate(model, torch.tensor([[0]]), 2)
        assert model.training == training
    assert not any(model.modes)


def test_zero_steps_return_the_prompt():
    ids = torch.tensor([[1, 2]])
    assert torch.equal(generate(GPT(TINY), ids, 0), ids)


BAD = {
    "temperature: got -1": {"temperature": -1.0},
    "temperature: got inf": {"temperature": math.inf},
    "temperature: got nan": {"temperature": math.nan},
    "top_k: got 0": {"top_k": 0},
    "top_p: got 0.0, expected 0 <": {"top_p": 0.0},
    "top_p: got 1.5": {"top_p": 1.5},
    "min_p: got -0.1, expected 0 <=": {"min_p": -0.1},
}


@pytest.mark.parametrize(("message", "options"), BAD.items())
def test_impossible_options_are_named(message, options):
    with pytest.raises(ValueError, match=f"^{message}"):
        generate(GPT(TINY), torch.tensor([[1]]), 1, **options)


def test_an_empty_prompt_and_negative_steps_are_named():
    model = GPT(TINY)
    with pytest.raises(ValueError, match="^ids: got shape .1, 0."):
        generate(model, torch.zeros(1, 0, dtype=torch.long), 1)
    with pytest.raises(ValueError, match="^steps: got -1"):
        generate(model, torch.tensor([[1]]), -1)


def test_counts_are_the_best_a_model_of_one_character_can_do():
    torch.manual_seed(0)
    ids = torch.randint(5, (400,))
    counts = pair_counts(ids, 5)
    assert counts.sum() == 399
    assert counts[2, 3] == ((ids[:-1] == 2) & (ids[1:] == 3)).sum()
    best = bigram_loss(ids, ids, 5, add=1e-9)
    logits = counts.double().log().clamp(min=-50)
    for _ in range(20):
        other = (logits + 0.1 * torch.randn(5, 5)).log_softmax(-1)
        assert -other[ids[:-1], ids[1:]].mean() > best
    assert best < unigram_loss(ids, ids, 5) < math.log(5) + 1e-9


def test_the_counts_as_a_model_have_the_same_loss():
    torch.manual_seed(0)
    train, ids = torch.randint(5, (2, 300))
    logits = Bigram(pair_counts(train, 5))(ids[None, :-1])[0]
    loss = nn.functional.cross_entropy(logits, ids[1:]).item()
    assert loss == pytest.approx(bigram_loss(train, ids, 5), rel=1e-5)


def test_every_walk_ends_in_a_cycle():
    follower = torch.tensor([1, 2, 0, 3, 3, 4, 2])
    assert cycles(follower) == [[0, 1, 2], [3]]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 8), min_size=9, max_size=9))
def test_greedy_decoding_of_any_counts_repeats_within_v_steps(follower):
    found = cycles(torch.tensor(follower))
    at = 0
    for _ in range(9):
        at = follower[at]
    assert any(at in cycle for cycle in found)
    for cycle in found:
        assert [follower[i] for i in cycle] == cycle[1:] + cycle[:1]
