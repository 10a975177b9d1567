"""What the sequence-to-sequence chapter claims, proved."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from llmnotes.sequence.gru import GRU
from llmnotes.sequence.lstm import LSTM
from llmnotes.sequence.rnn import RNN
from llmnotes.sequence.seq2seq import (
    AdditiveAttention,
    BahdanauSeq2Seq,
    DotAttention,
    GeneralAttention,
    Seq2Seq,
    TwoWaySeq2Seq,
    additive_scores,
    dot_scores,
    fit,
    loss,
    mix,
)
from llmnotes.sequence.seq2seq.decoding import exact_match, greedy
from llmnotes.sequence.seq2seq.pairs import END, PAD, START, Batch, reversal
from llmnotes.train_config import TrainConfig

BATCH, QUERY, KEY, HIDDEN, WIDTH = 3, 4, 7, 6, 5
SOURCE, TARGET = 11, 9  # vocabularies
LENGTHS = torch.tensor([4, 7, 2])


def random_inputs(seed=0):
    """A query, values and which of them may be seen."""
    torch.manual_seed(seed)
    query = torch.randn(BATCH, QUERY, HIDDEN, dtype=torch.float64)
    values = torch.randn(BATCH, KEY, HIDDEN, dtype=torch.float64)
    return query, values, torch.arange(KEY) < LENGTHS[:, None]


def random_batch(seed=0):
    """Sources of lengths 4, 7 and 2 and targets that end at 3, 4 and 1."""
    torch.manual_seed(seed)
    source = torch.randint(3, SOURCE, (BATCH, KEY))
    target = torch.randint(3, TARGET, (BATCH, QUERY + 1))
    target[:, 0] = START
    for row, end in enumerate((3, 4, 1)):
        target[row, end], target[row, end + 1 :] = END, PAD
        source[row, LENGTHS[row] :] = PAD
    return Batch(source, LENGTHS, target)


def plain(kind):
    return Seq2Seq(kind, SOURCE, TARGET, HIDDEN)


def luong(kind):
    return Seq2Seq(kind, SOURCE, TARGET, HIDDEN, GeneralAttention(HIDDEN))


def bahdanau(kind):
    attention = AdditiveAttention(HIDDEN, WIDTH)
    return BahdanauSeq2Seq(kind, SOURCE, TARGET, HIDDEN, attention)


def two_way(kind):
    attention = GeneralAttention(HIDDEN)
    return TwoWaySeq2Seq(kind, SOURCE, TARGET, HIDDEN, attention)


def make(build, kind, seed=0):
    torch.manual_seed(seed)
    return build(kind).double()


every_model = pytest.mark.parametrize(
    "build", [plain, luong, two_way, bahdanau]
)
every_kind = pytest.mark.parametrize("kind", [RNN, LSTM, GRU])


def compare(ours, theirs, inputs, others=None):
    """Outputs are equal, and the gradients of their inputs."""
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(ours)
    a = torch.autograd.grad(ours, inputs, upstream, retain_graph=True)
    b = torch.autograd.grad(theirs, others or inputs, upstream)
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y)


def looped_attention(query, values, seen, score):
    """Contexts one at a time, as the papers write them."""
    rows = []
    for b in range(BATCH):
        for i in range(QUERY):
            places = [j for j in range(KEY) if seen[b, j]]
            e = {j: score(query[b, i], values[b, j]).exp() for j in places}
            total = sum(e.values())
            rows.append(sum(e[j] / total * values[b, j] for j in places))
    return torch.stack(rows).view(BATCH, QUERY, HIDDEN)


def test_additive_attention_equals_the_papers_sums():
    query, values, seen = random_inputs()
    ours = AdditiveAttention(HIDDEN, WIDTH).double()
    w_q, w_k, b = ours.w_q.weight, ours.w_k.weight, ours.w_k.bias

    def score(s, h):
        units = zip(w_q, w_k, b, ours.v, strict=True)
        return sum(v * torch.tanh(q @ s + k @ h + c) for q, k, c, v in units)

    inputs = [query.requires_grad_(), values.requires_grad_()]
    scores = ours.scores(query, ours.keys(values))
    compare(
        mix(scores, values, seen)[0],
        looped_attention(query, values, seen, score),
        [*inputs, *ours.parameters()],
    )


def test_general_attention_equals_torchs_bilinear_form():
    query, values, seen = random_inputs()
    ours = GeneralAttention(HIDDEN).double()
    theirs = nn.Bilinear(HIDDEN, HIDDEN, 1, bias=False).double()
    theirs.weight.data[0] = ours.w_k.weight.data
    inputs = [query.requires_grad_(), values.requires_grad_()]
    scores = ours.scores(query, ours.keys(values))
    slow = looped_attention(query, values, seen, lambda s, h: theirs(s, h)[0])
    compare(mix(scores, values, seen)[0], slow, inputs)


def test_dot_attention_equals_torchs_own_without_its_scale():
    query, values, seen = random_inputs()
    inputs = [query.requires_grad_(), values.requires_grad_()]
    ours = DotAttention()
    scores = ours.scores(query, ours.keys(values))
    theirs = F.scaled_dot_product_attention(
        query, values, values, attn_mask=seen[:, None], scale=1.0
    )
    compare(mix(scores, values, seen)[0], theirs, inputs)


def test_by_hand_two_thirds_of_9_is_6():
    # tanh(artanh ½) = ½ and tanh 0 = 0; times v = 2 ln 2: ln 2 and 0.
    query = torch.tensor([[[math.atanh(0.5)]]])
    keys = torch.tensor([[[0.0], [-math.atanh(0.5)]]])
    scores = additive_scores(query, keys, torch.tensor([2 * math.log(2)]))
    values, seen = torch.tensor([[[9.0], [0.0]]]), torch.tensor([[True, True]])
    context, weights = mix(scores, values, seen)
    assert weights.flatten().tolist() == pytest.approx([2 / 3, 1 / 3])
    assert context.item() == pytest.approx(6)


def their_copy(ours, kind):
    """A torch module of the same kind with the same weights."""
    name = {RNN: nn.RNN, LSTM: nn.LSTM, GRU: nn.GRU}[kind]
    theirs = name(
        ours.input_size,
        ours.hidden_size,
        batch_first=True,
        bidirectional=ours.directions == 2,
    ).double()
    theirs.load_state_dict(ours.state_dict())
    return theirs


def their_encoder(model, kind, batch):
    """Values and state by torch's encoder, on a packed batch."""
    encoder = their_copy(model.encoder, kind)
    packed = pack_padded_sequence(
        model.source_embedding(batch.source),
        batch.source_lengths,
        batch_first=True,
        enforce_sorted=False,
    )
    values, state = encoder(packed)
    return encoder, pad_packed_sequence(values, batch_first=True)[0], state


@every_kind
def test_without_attention_equals_two_torch_networks(kind):
    model, batch = make(plain, kind), random_batch()
    encoder, _, state = their_encoder(model, kind, batch)
    decoder = their_copy(model.decoder, kind)
    hidden, _ = decoder(model.target_embedding(batch.target_in), state)
    compare(
        model(batch.source, batch.target_in, LENGTHS),
        model.head(hidden),
        [
            model.source_embedding.weight,
            *model.encoder.parameters(),
            *model.decoder.parameters(),
        ],
        [
            model.source_embedding.weight,
            *encoder.parameters(),
            *decoder.parameters(),
        ],
    )


@every_kind
def test_luong_equals_torchs_networks_and_attention(kind):
    model, batch = make(luong, kind), random_batch()
    encoder, values, state = their_encoder(model, kind, batch)
    decoder = their_copy(model.decoder, kind)
    hidden, _ = decoder(model.target_embedding(batch.target_in), state)
    keys = values @ model.attention.w_k.weight.T
    visible = (torch.arange(KEY) < LENGTHS[:, None])[:, None]
    context = F.scaled_dot_product_attention(
        hidden, keys, values, attn_mask=visible, scale=1.0
    )
    left, right = model.combine.weight.chunk(2, dim=1)
    read = torch.tanh(context @ left.T + hidden @ right.T)
    shared = [model.source_embedding.weight, model.attention.w_k.weight]
    compare(
        model(batch.source, batch.target_in, LENGTHS),
        model.head(read),
        [*shared, *model.encoder.parameters(), *model.decoder.parameters()],
        [*shared, *encoder.parameters(), *decoder.parameters()],
    )


@pytest.mark.parametrize(
    ("kind", "cell"), [(GRU, nn.GRUCell), (LSTM, nn.LSTMCell)]
)
def test_bahdanau_equals_a_loop_over_torchs_cell(kind, cell):
    model, batch = make(bahdanau, kind), random_batch()
    encoder, values, state = their_encoder(model, kind, batch)
    state = (state,) if kind is GRU else state
    cell = cell(2 * HIDDEN, HIDDEN).double()
    weights = model.decoder.state_dict().items()
    cell.load_state_dict({n.removesuffix("_l0"): w for n, w in weights})
    attend, rows = model.attention, []
    for b in range(BATCH):
        h, read = values[b, : LENGTHS[b]], []
        s = [torch.cat([x[0, b], x[1, b]])[None] for x in state]
        for token in model.target_embedding(batch.target_in[b]):
            e = torch.tanh(attend.w_q(s[0]) + attend.w_k(h)) @ attend.v
            context = e.softmax(0) @ h
            x = torch.cat([token, context])[None]
            s = [cell(x, s[0])] if kind is GRU else cell(x, s)
            read.append(model.combine(torch.cat([context, s[0][0]])))
        rows.append(model.head(torch.tanh(torch.stack(read))))
    shared = [model.target_embedding.weight, *attend.parameters()]
    compare(
        model(batch.source, batch.target_in, LENGTHS),
        torch.stack(rows),
        [*shared, *model.encoder.parameters(), *model.decoder.parameters()],
        [*shared, *encoder.parameters(), *cell.parameters()],
    )


@every_kind
def test_luong_with_a_two_way_encoder_differs_from_bahdanau_in_the_loop(kind):
    """Same encoder and state; Luong's decoder with Bahdanau's scores."""
    torch.manual_seed(0)
    scores = AdditiveAttention(HIDDEN, WIDTH)
    ours = TwoWaySeq2Seq(kind, SOURCE, TARGET, HIDDEN, scores).double()
    his, batch = make(bahdanau, kind), random_batch()
    for name in ("source_embedding", "encoder", "attention"):
        part = getattr(ours, name).state_dict()
        getattr(his, name).load_state_dict(part)
    memories = [m.encode(batch.source, LENGTHS) for m in (ours, his)]
    flat = [
        [*([m.state] if kind is not LSTM else m.state), *m[1:]]
        for m in memories
    ]
    for a, b in zip(*flat, strict=True):
        assert torch.equal(a, b)
    encoder, values, state = their_encoder(ours, kind, batch)
    torch.testing.assert_close(memories[0].values, values)
    decoder = their_copy(ours.decoder, kind)
    embedded = ours.target_embedding(batch.target_in)
    hidden, _ = decoder(embedded, memories[0].state)
    torch.testing.assert_close(
        ours.run(batch.target_in, memories[0])[0],
        torch.tanh(ours.combine(torch.cat(
            [ours.attend(hidden, memories[0])[0], hidden], -1))),
    )  # fmt: skip


BAD = pytest.mark.parametrize("bad", [math.nan, math.inf])


@BAD
def test_bad_numbers_in_the_padding_reach_no_context_and_no_gradient(bad):
    _, values, seen = random_inputs()
    scores = torch.randn(BATCH, QUERY, KEY, dtype=torch.float64)
    wanted = [scores.clone(), values.masked_fill(~seen[..., None], 0)]
    found = [
        scores.masked_fill(~seen[:, None], bad),
        values.masked_fill(~seen[..., None], bad),
    ]
    for x in (*wanted, *found):
        x.requires_grad_()
    results = [mix(*x, seen) for x in (found, wanted)]
    torch.testing.assert_close(*results)
    upstream = torch.randn_like(results[0][0])
    grads = [
        torch.autograd.grad(r[0], x, upstream)
        for r, x in zip(results, (found, wanted), strict=True)
    ]
    torch.testing.assert_close(*grads)


@BAD
@pytest.mark.parametrize("build", [luong, two_way, bahdanau])
def test_bad_memory_behind_the_length_is_as_good_as_none(build, bad):
    model, batch = make(build, GRU), random_batch()
    memory = model.encode(batch.source, LENGTHS)
    hidden = ~memory.seen[..., None]
    wanted = model.decode(batch.target_in, memory)
    spoiled = memory._replace(
        values=memory.values.masked_fill(hidden, bad),
        keys=memory.keys.masked_fill(hidden, bad),
    )
    parameters = [*model.decoder.parameters(), *model.encoder.parameters()]
    compare(
        model.decode(batch.target_in, spoiled),
        wanted,
        parameters,
    )


def test_a_source_that_is_all_padding_leaves_a_context_of_zeros():
    context, weights = mix(
        torch.zeros(1, 2, 3), torch.ones(1, 3, 4), torch.zeros(1, 3).bool()
    )
    assert (context == 0).all() and (weights == 0).all()


def test_scores_beyond_the_largest_half_are_no_infinity():
    query = torch.full((1, 1, 1), 256.0, dtype=torch.half)
    keys = torch.full((1, 2, 1), 256.0, dtype=torch.half)
    values = torch.tensor([[[1.0], [3.0]]], dtype=torch.half)
    seen = torch.ones(1, 2, dtype=torch.bool)
    context, weights = mix(dot_scores(query, keys), values, seen)
    assert context.dtype == torch.half and context.item() == 2
    assert weights.flatten().tolist() == [0.5, 0.5]


@every_model
@every_kind
def test_a_padded_batch_equals_its_sequences_alone(build, kind):
    model, batch = make(build, kind), random_batch()
    together = model(batch.source, batch.target_in, LENGTHS)
    for row, n in enumerate(LENGTHS):
        alone = model(
            batch.source[row : row + 1, :n], batch.target_in[row : row + 1]
        )
        torch.testing.assert_close(together[row : row + 1], alone)


@every_model
def test_what_stands_in_the_padding_changes_nothing(build):
    model, batch = make(build, LSTM), random_batch()
    filled = torch.where(batch.source == PAD, 5, batch.source)
    assert not torch.equal(filled, batch.source)
    before, after = (
        model(source, batch.target_in, LENGTHS)
        for source in (batch.source, filled)
    )
    assert torch.equal(before, after)
    read = model(filled, batch.target_in)
    assert not torch.allclose(before, read)


@every_model
def test_changing_later_target_tokens_changes_nothing_before(build):
    model, batch = make(build, GRU), random_batch()
    before = model(batch.source, batch.target_in, LENGTHS)
    for i in range(1, QUERY):
        changed = batch.target_in.clone()
        changed[:, i:] = 8 - changed[:, i:]
        after = model(batch.source, changed, LENGTHS)
        assert torch.equal(after[:, :i], before[:, :i])
        assert (after[:, i] != before[:, i]).any(-1).all()


@every_model
@every_kind
def test_shown_one_token_at_a_time_or_all_at_once(build, kind):
    model, batch = make(build, kind), random_batch()
    memory = model.encode(batch.source, LENGTHS)
    whole = model.decode(batch.target_in, memory)
    for n in range(1, QUERY + 1):
        part = model.decode(batch.target_in[:, :n], memory)
        torch.testing.assert_close(part[:, -1], whole[:, n - 1])


@every_kind
def test_without_attention_nothing_but_the_state_gets_through(kind):
    batch = random_batch()
    for build, through in ((plain, False), (luong, True), (two_way, True)):
        model = make(build, kind)
        memory = model.encode(batch.source, LENGTHS)
        other = memory._replace(values=memory.values + 1)
        a, b = (model.decode(batch.target_in, m) for m in (memory, other))
        assert torch.equal(a, b) is not through


@pytest.mark.parametrize("build", [luong, two_way, bahdanau])
def test_weights_sum_to_one_over_the_source_and_padding_gets_none(build):
    model, batch = make(build, GRU), random_batch()
    weights = model.alignment(batch.source, batch.target_in, LENGTHS)
    assert weights.shape == (BATCH, QUERY, KEY)
    torch.testing.assert_close(
        weights.sum(-1), torch.ones(BATCH, QUERY, dtype=torch.float64)
    )
    visible = torch.arange(KEY) < LENGTHS[:, None, None]
    assert torch.equal(weights > 0, visible.expand_as(weights))


sizes = st.integers(1, 6)


@settings(deadline=None, max_examples=25)
@given(sizes, sizes, sizes, sizes, st.randoms(use_true_random=False))
def test_shuffled_values_with_their_keys_give_the_same_context(
    batch, query, key, width, random
):
    torch.manual_seed(random.randrange(99))
    ours = AdditiveAttention(width)
    q, h = torch.randn(batch, query, width), torch.randn(batch, key, width)
    seen = torch.arange(key) < torch.randint(1, key + 1, (batch, 1))
    order = torch.randperm(key)
    a, before = mix(ours.scores(q, ours.keys(h)), h, seen)
    h, seen = h[:, order], seen[:, order]
    b, after = mix(ours.scores(q, ours.keys(h)), h, seen)
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(before[..., order], after)


def test_attention_passes_gradcheck():
    query, values, seen = random_inputs()
    ours = AdditiveAttention(HIDDEN, WIDTH).double()

    def both(q, h):
        return mix(ours.scores(q, ours.keys(h)), h, seen)

    inputs = [query.requires_grad_(), values.requires_grad_()]
    assert torch.autograd.gradcheck(both, inputs)


@every_model
def test_padding_of_targets_does_not_count_in_the_loss(build):
    model, batch = make(build, GRU), random_batch()
    parts, tokens = [], []
    for row, end in enumerate((3, 4, 1)):
        one = Batch(
            batch.source[row : row + 1, : LENGTHS[row]],
            LENGTHS[row : row + 1],
            batch.target[row : row + 1, : end + 1],
        )
        parts.append(loss(model, one) * end)
        tokens.append(end)
    torch.testing.assert_close(loss(model, batch), sum(parts) / sum(tokens))


@every_model
def test_every_parameter_learns(build):
    model = make(build, GRU)
    loss(model, random_batch()).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.any(), name


def test_it_learns_to_reverse():
    torch.manual_seed(0)
    model = Seq2Seq(GRU, 6, 6, 24, GeneralAttention(24))
    config = TrainConfig(
        steps=150, learning_rate=2e-2, warmup=20, eval_every=5
    )
    history = fit(model, lambda step: reversal(4, 16, step, symbols=3), config)
    assert history[0].loss > 1.5 and history[-1].loss < 0.1
    test = reversal(4, 100, seed=10**6, symbols=3)
    written = greedy(model, test.source, max_length=5)
    assert exact_match(written, test.target_out) > 0.95


def test_training_is_a_function_of_the_seed():
    runs = []
    for _ in range(2):
        model = make(luong, GRU, seed=3)
        config = TrainConfig(steps=3, warmup=0, eval_every=1)
        history = fit(model, random_batch, config, progress=False)
        runs.append([row.loss for row in history])
    assert runs[0] == runs[1] and len(set(runs[0])) == 3


BAD = {
    "source: got 0 to 11, expected 0 to 10": {
        "source": torch.tensor([[0, 11]])
    },
    "source: got torch.float32": {"source": torch.zeros(1, 2)},
    "source: got shape (2,), expected (batch, key)": {
        "source": torch.tensor([3, 4])
    },
    "target_in: got -1 to 3, expected 0 to 8": {
        "target_in": torch.tensor([[3, -1]])
    },
    "target_in: got shape (1, 0), expected no empty axis": {
        "target_in": torch.zeros(1, 0, dtype=torch.int64)
    },
    "target_in: got batch 2, expected source's 1": {
        "target_in": torch.tensor([[3], [4]])
    },
    "source_lengths: got 3 to 3, expected 1 to 2": {
        "source_lengths": torch.tensor([3])
    },
    "source_lengths: got batch 2, expected source's 1": {
        "source_lengths": torch.tensor([1, 2])
    },
    "source_lengths: got 0 to 0, expected 1 to 2": {
        "source_lengths": torch.tensor([0])
    },
}


@every_model
@pytest.mark.parametrize(("message", "change"), BAD.items())
def test_what_cannot_be_read_is_named(build, message, change):
    good = {
        "source": torch.tensor([[3, 4]]),
        "target_in": torch.tensor([[START, 5]]),
        "source_lengths": torch.tensor([2]),
    }
    model = build(RNN)
    assert model(**good).shape == (1, 2, TARGET)
    with pytest.raises(ValueError) as error:
        model(**(good | change))
    assert str(error.value).startswith(message)


def test_sizes_and_models_that_cannot_be_are_named():
    with pytest.raises(ValueError, match="^hidden_size: got 0"):
        Seq2Seq(RNN, 5, 5, 0)
    with pytest.raises(ValueError, match="^target_vocab: got 0"):
        Seq2Seq(RNN, 5, 0, 5)
    with pytest.raises(ValueError, match="^hidden_size: got 5, expected even"):
        BahdanauSeq2Seq(RNN, 5, 5, 5, AdditiveAttention(5))
    ids = torch.tensor([[3, 4]])
    with pytest.raises(ValueError, match="^attention: got None"):
        plain(RNN).alignment(ids, ids)
