"""What the chapter claims of speculative decoding, proved."""

import math
from itertools import product

import pytest
import torch
from torch import nn

from llmnotes.models.kv_cache import (
    acceptance,
    expected_tokens,
    generate,
    speculate,
)
from llmnotes.models.kv_cache.speculative import (
    accept_chance,
    judge,
    residual,
)
from llmnotes.transformer.gpt import next_distribution
from tests.models.kv_cache.tiny import gpt, llama, some_ids


def tables(seed, words=3, length=3):
    """Some model: a distribution behind every text of up to `length`."""
    draw = torch.Generator().manual_seed(seed)
    return {
        text: torch.randn(words, generator=draw).double().softmax(-1)
        for n in range(length + 1)
        for text in product(range(words), repeat=n)
    }


def outcomes(p, q, ahead):
    """Every text that one check can say, with its chance."""
    for guesses in product(range(3), repeat=ahead):
        drawn = [q[guesses[:i]][token] for i, token in enumerate(guesses)]
        chance = math.prod(x.item() for x in drawn)
        for i, token in enumerate(guesses):
            here, there = p[guesses[:i]], q[guesses[:i]]
            kept = accept_chance(here, there, token)
            if kept < 1:
                anew = residual(here, there)
                for other in range(3):
                    refused = chance * (1 - kept) * anew[other].item()
                    yield (*guesses[:i], other), refused
            chance *= kept
        for other in range(3):
            yield (*guesses, other), chance * p[guesses][other].item()


@pytest.mark.parametrize("ahead", [0, 1, 2, 3])
def test_every_text_has_exactly_the_large_model_s_chance(ahead):
    p, q = tables(0), tables(1)
    said = list(outcomes(p, q, ahead))
    assert sum(c for _, c in said) == pytest.approx(1)
    # Any text of `ahead + 1` tokens: what was said, and p for the rest.
    for text in product(range(3), repeat=ahead + 1):
        steps = [p[text[:i]][token] for i, token in enumerate(text)]
        right, got = math.prod(x.item() for x in steps), 0.0
        for start, chance in said:
            if start == text[: len(start)]:
                for i in range(len(start), ahead + 1):
                    chance *= p[text[:i]][text[i]].item()
                got += chance
        assert got == pytest.approx(right, rel=1e-9)


def test_accepting_worked_by_hand():
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    chances = [accept_chance(p, q, token) for token in range(3)]
    assert chances == pytest.approx([1, 1, 1 / 3])
    assert residual(p, q).tolist() == pytest.approx([0.75, 0.25, 0])
    # 0.2 + 0.2 + 0.2: the guess is kept six times in ten.
    assert acceptance(p, q).item() == pytest.approx(0.6)


def test_who_guesses_with_the_same_model_is_never_refused():
    p = torch.tensor([0.5, 0.3, 0.2])
    assert acceptance(p, p).item() == pytest.approx(1)
    for token in range(3):
        said = judge(p.expand(2, -1), [p], [token])
        assert len(said) == 2 and said[0] == token


def test_tokens_per_check_are_a_geometric_sum():
    assert expected_tokens(0.0, 4) == 1
    assert expected_tokens(1.0, 4) == 5
    assert expected_tokens(0.8, 4) == pytest.approx((1 - 0.8**5) / 0.2)


@pytest.mark.parametrize("ahead", [0, 1, 3, 7])
def test_greedy_texts_are_those_of_the_large_model_whatever_is_guessed(ahead):
    model, ids = llama(num_key_value_heads=2), some_ids(1)
    right = generate(model, ids, 20, temperature=0)
    for draft in (model, llama(), gpt()):
        got = speculate(model, draft, ids, 20, ahead=ahead, temperature=0)
        assert torch.equal(got.ids, right)
        if draft is model and ahead:
            assert got.accepted == got.guessed
            assert got.checks == -(-20 // (ahead + 1))
        assert got.accepted + got.checks == 20


class Bigrams(nn.Module):
    """Next tokens by the last one; keeps nothing but how much it has read."""

    def __init__(self, seed):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.table = torch.randn(5, 5, generator=draw) * 1.5

    def forward(self, ids, mask=None, past=None):
        past.extend(0, *torch.zeros(2, 1, 1, ids.shape[1], 1))
        return self.table[ids]


def test_three_drawn_tokens_have_the_frequencies_of_the_large_model():
    model, draft = Bigrams(0), Bigrams(1)
    options = dict(temperature=0.8, top_k=4)
    generator, ids = torch.Generator().manual_seed(2), torch.tensor([[3]])
    counts, draws = torch.zeros(5, 5, 5), 800
    for _ in range(draws):
        got = speculate(
            model, draft, ids, 3, ahead=2, generator=generator, **options
        )
        counts[tuple(got.ids[0, 1:])] += 1
    step = next_distribution(model.table, **options)
    right = step[3][:, None, None] * step[:, :, None] * step[None]
    # Twice the spread that multinomial draws have in total variation.
    noise = (right * (1 - right) / draws).sqrt().sum() / 2
    assert (counts / draws - right).abs().sum() / 2 < 1.5 * noise
    # The draft's own distribution is far from it.
    other = next_distribution(draft.table, **options)
    wrong = other[3][:, None, None] * other[:, :, None] * other[None]
    assert (wrong - right).abs().sum() / 2 > 3 * noise


BAD = {
    "ids: got batch 2, expected 1": dict(ids=some_ids(2)),
    "ahead: got -1, expected at least 0": dict(ahead=-1),
    "temperature: got -1.0, expected 0 or more": dict(temperature=-1.0),
    "ids: got 6 tokens and 40 new ones, expected at most n_positions + 1 = "
    "41 in all": dict(new_tokens=40),
}


@pytest.mark.parametrize(("message", "change"), BAD.items())
def test_calls_that_cannot_be_answered_are_named(message, change):
    model = llama()
    call = dict(model=model, draft=model, ids=some_ids(1), new_tokens=2)
    with pytest.raises(ValueError) as error:
        speculate(**call | change)
    assert str(error.value) == message
