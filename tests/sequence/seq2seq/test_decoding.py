"""Greedy and beam search, on models whose every probability is known."""

import functools
import itertools
import math

import pytest
import torch
from torch import nn

from llmnotes.sequence.rnn import RNN
from llmnotes.sequence.seq2seq import DotAttention, Seq2Seq
from llmnotes.sequence.seq2seq.decoding import beam_search, exact_match, greedy
from llmnotes.sequence.seq2seq.pairs import END, PAD, START

A, B = 3, 4
ANY = torch.tensor([[A]])  # a source for models that do not look at it


class Table(nn.Module):
    """A model written down: chances of the next token after each beginning."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def encode(self, source, source_lengths=None):
        return None

    def decode(self, target_in, memory):
        logits = torch.full((*target_in.shape, 5), -torch.inf).double()
        for row, tokens in enumerate(target_in.tolist()):
            for i in range(len(tokens)):
                seen = tuple(tokens[1 : i + 1])
                for token, p in self.table.get(seen, {END: 1}).items():
                    logits[row, i, token] = math.log(p)
        return logits


# The likeliest first token, A, leads into a field of equals.
TRAP = Table(
    {
        (): {A: 0.6, B: 0.4},
        (A,): {A: 0.5, B: 0.5},
        (B,): {A: 0.1, B: 0.9},
    }
)
# Stopping at once costs 0.4; three tokens and END cost 0.7 each.
SHORT = Table(
    {
        (): {END: 0.4, A: 0.6},
        (A,): {A: 0.7, END: 0.3},
        (A, A): {A: 0.7, END: 0.3},
        (A, A, A): {END: 0.7, A: 0.3},
    }
)


def random_model(seed):
    torch.manual_seed(seed)
    model = Seq2Seq(RNN, 9, 5, 8, DotAttention()).double()
    with torch.no_grad():
        model.head.weight.mul_(6)  # fresh models find everything alike
    return model


def random_source(rows, seed=0):
    torch.manual_seed(seed)
    return torch.randint(3, 9, (rows, 6)), torch.randint(1, 7, (rows,))


def log_chance(model, source, length, tokens):
    """Log-probability of a whole target, by teacher forcing."""
    given = torch.tensor([[START, *tokens[:-1]]])
    chances = model(source, given, length)[0].log_softmax(-1)
    return sum(chances[i, t].item() for i, t in enumerate(tokens))


def every_sequence(max_length):
    """All targets: symbols up to END, or max_length symbols without one."""
    for n in range(max_length):
        for body in itertools.product((A, B), repeat=n):
            yield (*body, END)
    yield from itertools.product((A, B), repeat=max_length)


def test_greedy_reads_what_it_wrote():
    # A A B and the end, each token decided by the one before.
    chain = {(): {A: 1}, (A,): {A: 1}, (A, A): {B: 1}, (A, A, B): {END: 1}}
    assert greedy(Table(chain), ANY, max_length=9).tolist() == [[A, A, B, END]]


def test_greedy_stops_at_the_end_or_at_max_length():
    assert greedy(Table({}), ANY, max_length=9).tolist() == [[END]]
    forever = Table({(A,) * n: {A: 1} for n in range(9)})
    assert greedy(forever, ANY, max_length=4).tolist() == [[A] * 4]


def test_rows_that_end_early_wait_without_writing():
    model = random_model(6)
    source, lengths = random_source(40)
    written = greedy(model, source, lengths, max_length=12)
    ends = (written == END).int()
    after = ends.cumsum(1) - ends
    assert 10 < (after[:, -1] > 0).sum() < 30  # some end, some do not
    assert len(set(ends.argmax(1).tolist())) > 2
    assert ((written == PAD) == (after > 0)).all()
    assert (written != START).all()


def test_greedy_writes_what_the_model_rates_highest():
    model = random_model(6)
    source, lengths = random_source(9)
    written = greedy(model, source, lengths, max_length=12)
    start = torch.full((9, 1), START)
    logits = model(source, torch.cat([start, written[:, :-1]], 1), lengths)
    logits[..., [PAD, START]] = -torch.inf
    real = written != PAD
    assert torch.equal(logits.argmax(-1)[real], written[real])


@pytest.mark.parametrize("seed", [0, 3, 6])
def test_a_beam_of_one_is_greedy(seed):
    model = random_model(seed)
    source, lengths = random_source(20, seed)
    one = beam_search(model, source, lengths, beam=1, max_length=7)
    written = greedy(model, source, lengths, max_length=7)
    assert torch.equal(one.tokens[:, 0], written)


def test_by_hand_a_beam_of_two_finds_036_where_greedy_finds_030():
    written = greedy(TRAP, ANY, max_length=3)
    assert written.tolist() == [[A, A, END]]
    found = beam_search(TRAP, ANY, beam=2, max_length=3)
    assert found.tokens[0, 0].tolist() == [B, B, END]
    chances = found.scores[0].exp().tolist()
    assert chances == pytest.approx([0.4 * 0.9, 0.6 * 0.5])


def test_by_hand_normalising_by_length_prefers_the_longer_one():
    plain = beam_search(SHORT, ANY, beam=4, max_length=4)
    assert plain.tokens[0, 0].tolist() == [END, PAD, PAD, PAD]
    assert plain.scores[0, 0].exp().item() == pytest.approx(0.4)
    mean = beam_search(SHORT, ANY, beam=4, max_length=4, alpha=1.0)
    assert mean.tokens[0, 0].tolist() == [A, A, A, END]
    total = math.log(0.6 * 0.7 * 0.7 * 0.7)
    assert mean.scores[0, 0].item() == pytest.approx(total / 4)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", [0, 3, 6])
def test_a_beam_without_limit_is_exhaustive_search(alpha, seed):
    model = random_model(seed)
    source, length = random_source(1, seed)
    ranked = sorted(
        (
            (log_chance(model, source, length, y) / len(y) ** alpha, y)
            for y in every_sequence(4)
        ),
        reverse=True,
    )
    assert len(ranked) == 1 + 2 + 4 + 8 + 16
    found = beam_search(
        model, source, length, beam=40, max_length=4, alpha=alpha
    )
    for i, (score, tokens) in enumerate(ranked):
        got = found.tokens[0, i].tolist()
        assert got == [*tokens, *[PAD] * (4 - len(tokens))]
        assert found.scores[0, i].item() == pytest.approx(score)
    assert (found.scores[0, len(ranked) :] == -torch.inf).all()


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_scores_are_those_of_the_tokens(alpha):
    model = random_model(24)
    source, lengths = random_source(5, 2)
    found = beam_search(
        model, source, lengths, beam=3, max_length=9, alpha=alpha
    )
    for row, beam in itertools.product(range(5), range(3)):
        tokens = [t for t in found.tokens[row, beam].tolist() if t != PAD]
        total = log_chance(
            model, source[row : row + 1], lengths[row : row + 1], tokens
        )
        score = found.scores[row, beam].item()
        assert score == pytest.approx(total / len(tokens) ** alpha)
    assert (found.scores.diff(dim=1) <= 0).all()


def test_no_hypothesis_comes_twice():
    found = beam_search(
        random_model(34), *random_source(4, 3), beam=6, max_length=5
    )
    for rows in found.tokens.tolist():
        assert len(set(map(tuple, rows))) == 6


def test_a_batch_is_searched_as_each_of_its_rows():
    model = random_model(0)
    source, lengths = random_source(6, 4)
    whole = beam_search(model, source, lengths, beam=3, max_length=6)
    for row in range(6):
        alone = beam_search(
            model,
            source[row : row + 1],
            lengths[row : row + 1],
            beam=3,
            max_length=6,
        )
        width = alone.tokens.shape[-1]
        assert torch.equal(whole.tokens[row, :, :width], alone.tokens[0])
        torch.testing.assert_close(whole.scores[row], alone.scores[0])


def test_decoding_is_without_dropout_and_leaves_the_mode_alone():
    class Noisy(Table):
        def decode(self, target_in, memory):
            assert not self.training and not torch.is_grad_enabled()
            return super().decode(target_in, memory)

    model = Noisy({})
    for mode in (True, False):
        model.train(mode)
        greedy(model, ANY, max_length=2)
        beam_search(model, ANY, beam=2, max_length=2)
        assert model.training is mode


def test_exact_match_counts_whole_rows():
    right = torch.tensor([[A, B, END], [A, END, PAD], [B, A, END]])
    written = torch.tensor([[A, B, END], [A, END, PAD], [B, B, END]])
    assert exact_match(written, right) == pytest.approx(2 / 3)
    assert exact_match(written[:, :2], right) == pytest.approx(1 / 3)
    longer = nn.functional.pad(written, (0, 2), value=A)
    assert exact_match(longer, right) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 0, "max_length": 3}, "beam: got 0"),
        ({"beam": 2, "max_length": 0}, "max_length: got 0"),
        ({"beam": 2, "max_length": 3, "alpha": -1.0}, "alpha: got -1.0"),
    ],
)
def test_options_that_cannot_be_are_named(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        beam_search(TRAP, ANY, **options)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_rank_nothing_are_named(bad):
    source = torch.tensor([[3, 4]])
    model = Seq2Seq(RNN, 5, 5, 4)
    with torch.no_grad():
        model.head.bias[3] = bad
    for search in (greedy, functools.partial(beam_search, beam=2)):
        with pytest.raises(ValueError, match="^model: got (nan|inf) as its"):
            search(model, source, max_length=3)
