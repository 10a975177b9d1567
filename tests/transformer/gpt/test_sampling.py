"""What the GPT chapter claims of sampling and of counting, proved."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from llmnotes.transformer.gpt import GPT, GPT1, GPTConfig
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
    left_padded,
    next_distribution,
    stream,
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


@pytest.mark.parametrize("p", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("dtype", [torch.half, torch.float, torch.double])
def test_of_ten_alike_top_p_keeps_exactly_its_tenths(p, dtype):
    alike = torch.zeros(1, 10, dtype=dtype)
    kept_now = (next_distribution(alike, top_p=p) > 0).sum()
    assert kept_now == len(kept(keep_top_p(alike, p))) == round(10 * p)


@pytest.mark.parametrize("size", [3, 7, 10, 100, 1000, 50257])
def test_a_sum_that_is_p_but_for_rounding_has_reached_it(size):
    for share in (1, size // 3, size // 2, size - 1):
        alike = torch.zeros(1, size)
        assert len(kept(keep_top_p(alike, share / size))) == share


def test_rounding_is_forgiven_where_the_chances_were_rounded_to_float32():
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.1, 0.025]]).log()
    for p, count in {0.5: 1, 0.75: 2, 0.875: 3, 0.975: 4}.items():
        assert len(kept(keep_top_p(logits, p))) == count
        assert len(kept(keep_top_p(logits, p + 1e-4))) == count + 1
        assert len(kept(keep_top_p(logits + 7, p))) == count


def test_the_likeliest_is_kept_whatever_p_is():
    logits = torch.tensor([[1.0, 3.0, 2.0]])
    for p in (0.0, 1e-300, 1e-12, 0.1):
        assert kept(keep_top_p(logits, p)) == [1]


def test_min_p_keeps_what_has_exactly_its_share_but_for_rounding():
    for third in (0.1, 0.2, 0.3, 0.7):
        logits = torch.tensor([[1.0, third, 0.01]]).log()
        assert kept(keep_min_p(logits, third)) == [0, 1]
        assert kept(keep_min_p(logits, third + 1e-4)) == [0]
    assert kept(keep_min_p(torch.zeros(1, 5), 1.0)) == [0, 1, 2, 3, 4]


def test_filters_refuse_what_keeps_nothing():
    for keep, bad, name in (
        (keep_top_k, 0, "k"), (keep_top_k, -1, "k"), (keep_top_p, 1.5, "p"),
        (keep_top_p, -0.1, "p"), (keep_top_p, math.nan, "p"),
        (keep_min_p, 1.5, "share"), (keep_min_p, -0.1, "share"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{name}: got {bad}, expected"):
            keep(TIES, bad)


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


INF, NAN = math.inf, math.nan
HOPELESS = {
    "nan as the largest of row 0": [[0.0, NAN, 1.0], [0.0, 1.0, 2.0]],
    "inf as the largest of row 1": [[0.0, 1.0, 2.0], [0.0, INF, 1.0]],
    "-inf as the largest of row 1": [[0.0, 1.0, 2.0], [-INF, -INF, -INF]],
    "nan as the largest of row 1": [[0.0, 1.0, 2.0], [-INF, INF, NAN]],
}


@pytest.mark.parametrize(("message", "logits"), HOPELESS.items())
@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0}, {"top_k": 1}, {"top_p": 0.5}]
)
def test_logits_of_which_none_can_be_drawn_are_named(message, logits, options):
    message = f"^logits: got {message}, expected a finite number"
    with pytest.raises(ValueError, match=message):
        next_distribution(torch.tensor(logits), **options)


def test_a_model_that_says_nan_is_named_before_a_token_is_drawn():
    with pytest.raises(ValueError, match="^logits: got nan"):
        generate(Recorder([0.0, NAN]), torch.tensor([[0]]), 1)


def test_some_logits_may_be_minus_infinity():
    got = next_distribution(torch.tensor([[0.0, -INF, 0.0]]))
    assert got.tolist() == [[0.5, 0, 0.5]]


PROMPTS = [3, 1, 4], [1], [5, 9, 2, 6, 5]


@pytest.mark.parametrize("cls", [GPT, GPT1])
def test_prompts_of_different_lengths_are_continued_as_each_alone(cls):
    torch.manual_seed(0)
    model = cls(TINY).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    ids, mask = left_padded(PROMPTS, pad=7)
    together = generate(model, ids, 8, mask=mask, temperature=0)
    assert together.shape == (3, 13)  # longer than n_positions = 6
    for row, real, prompt in zip(together, mask, PROMPTS, strict=True):
        alone = torch.tensor([prompt])
        right = generate(model, alone, 8, temperature=0)[0]
        assert row[5 - real.sum() :].tolist() == right.tolist()
    # Shown without its mask, the padding is a part of the text.
    wrong = generate(model, ids, 8, temperature=0)
    assert not torch.equal(wrong[:, 5:], together[:, 5:])


def test_a_padded_row_has_the_logits_and_gradients_that_it_has_alone():
    torch.manual_seed(0)
    model = GPT(TINY).double()
    ids, mask = left_padded(PROMPTS)
    for row, real in zip(ids, mask, strict=True):
        found = []
        for out in (
            model(row[real][None])[0],
            model(row[None], real[None])[0, real],
        ):
            loss = out.square().sum()
            grads = torch.autograd.grad(loss, list(model.parameters()))
            found.append((out, *grads))
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b)


def test_whoever_is_padded_draws_from_the_same_chances():
    torch.manual_seed(0)
    model = GPT(TINY)
    ids, mask = left_padded([[3], [3, 1, 4]])
    draw = generate(
        model, ids.repeat_interleave(2000, 0), 1,
        mask=mask.repeat_interleave(2000, 0),
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    for at, prompt in enumerate([[3], [3, 1, 4]]):
        new = draw[2000 * at : 2000 * (at + 1), -1]
        chance = next_distribution(model(torch.tensor([prompt]))[:, -1])[0]
        share = new.bincount(minlength=13) / 2000
        torch.testing.assert_close(share, chance, atol=0.04, rtol=0)


class Counter(nn.Module):
    """Says the successor of the last token, modulo 7."""

    def forward(self, ids):
        after = (ids + 1) % 7
        return 50.0 * nn.functional.one_hot(after, 7).float()


def test_a_row_that_has_ended_repeats_its_stop_and_all_ended_end_it_all():
    ids = torch.tensor([[1], [3]])
    out = generate(Counter(), ids, 20, stop=5)
    assert out.tolist() == [[1, 2, 3, 4, 5], [3, 4, 5, 5, 5]]
    out = generate(Counter(), ids, 3, stop=5)  # the first has no time to end
    assert out.tolist() == [[1, 2, 3, 4], [3, 4, 5, 5]]


def test_a_stop_of_several_tokens_ends_where_all_of_them_stand():
    ids = torch.tensor([[5], [2]])
    out = generate(Counter(), ids, 20, stop=[0, 1])
    assert out.tolist() == [[5, 6, 0, 1, 1, 1, 1], [2, 3, 4, 5, 6, 0, 1]]


def test_a_stop_in_the_prompt_ends_nothing():
    ids = torch.tensor([[4, 5]])
    assert generate(Counter(), ids, 2, stop=5).tolist() == [[4, 5, 6, 0]]
    # Nor does one that the prompt begins and the text completes.
    assert generate(Counter(), ids, 2, stop=[5, 6]).shape == (1, 4)


def test_a_streamed_text_is_the_generated_one_and_leaves_grad_mode_alone():
    torch.manual_seed(0)
    model, ids = GPT(TINY).train(), torch.tensor([[1, 2], [3, 4]])
    seeds = [torch.Generator().manual_seed(3) for _ in range(2)]
    right = generate(model, ids, 5, generator=seeds[0])
    for at, new in enumerate(stream(model, ids, 5, generator=seeds[1])):
        assert torch.equal(new, right[:, 2 + at])
        assert torch.is_grad_enabled() and model.training


IDS = torch.tensor([[1, 2], [3, 4]])
BAD_CALLS = {
    "mask: got False behind True in row 1": {
        "mask": torch.tensor([[True, True], [True, False]])
    },
    "mask: got False behind True in row 0": {
        "mask": torch.tensor([[False, False], [True, True]])
    },
    "mask: got length 3, expected ids' 2": {
        "mask": torch.ones(2, 3, dtype=torch.bool)
    },
    "stop: got .., expected an id": {"stop": []},
    "stop: got 'END', expected an id": {"stop": "END"},
    "stop: got -1, expected an id": {"stop": -1},
}


@pytest.mark.parametrize(("message", "options"), BAD_CALLS.items())
def test_masks_and_stops_that_cannot_be_are_named(message, options):
    with pytest.raises(ValueError, match=f"^{message}"):
        stream(GPT(TINY), IDS, 1, **options)  # at once, not at the first token


def test_prompts_that_cannot_be_padded_are_named():
    for prompts in ([], [[]], [[1], []], [1, 2], [[[1]]]):
        with pytest.raises(ValueError, match="^prompts: got shapes"):
            left_padded(prompts)


BAD_COUNTS = {
    "ids: got 0 to 5, expected 0 to 4": lambda ids: pair_counts(ids + 1, 5),
    "ids: got -1 to 3, expected 0 to 4": lambda ids: pair_counts(ids - 1, 5),
    "train: got -1 to 3": lambda ids: bigram_loss(ids - 1, ids, 5),
    "ids: got 0 to 9": lambda ids: bigram_loss(ids, ids * 9 // 4, 5),
    "train: got 1 to 5": lambda ids: unigram_loss(ids + 1, ids, 5),
    "ids: got -4 to 0": lambda ids: unigram_loss(ids, -ids, 5),
    "ids: got -1 to 3, expected": (
        lambda ids: Bigram(pair_counts(ids, 5))(ids[None] - 1)
    ),
    "follower: got -1 to 3": lambda ids: cycles(ids - 1),
    "follower: got 0 to 5, expected 0 to 4": lambda ids: cycles(
        torch.tensor([0, 5, 1, 2, 3])
    ),
}


@pytest.mark.parametrize(("message", "look_up"), BAD_COUNTS.items())
def test_what_no_table_of_counts_holds_is_named(message, look_up):
    ids = torch.arange(5)
    if message.startswith("ids: got 0 to 5"):
        ids = torch.tensor([-1, 0, 4])
    with pytest.raises(ValueError, match=f"^{message}"):
        look_up(ids)
