"""Split over 1 to 4 ranks: output and every gradient of the dense model."""

import functools

import pytest
import torch
from torch.testing import assert_close

from llmnotes import train
from llmnotes.parallel.data_parallel import run
from llmnotes.parallel.tensor_parallel import parameters, traffic
from llmnotes.transformer import gpt
from tests.parallel.tensor_parallel import dense, split
from tests.parallel.tensor_parallel.dense import equal

RANKS, WAYS = (1, 2, 3, 4), tuple(split.WAYS)
LINEAR = functools.partial(traffic, dense.BATCH, dense.LENGTH, 24)


@functools.cache
def whole_step(dtype=torch.float64, length=dense.LENGTH):
    """The dense model's loss, logits, parameters and gradients."""
    made = dense.model().to(dtype)
    inputs, targets = dense.text(length=length)
    logits = made(inputs)
    loss = train.loss(made, inputs, targets)
    loss.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in made.parameters()])
    said = {"loss": loss.detach(), "norm": norm, "logits": logits.detach()}
    named = dict(made.named_parameters())
    said |= {f"{name}.grad": p.grad for name, p in named.items()}
    return said | {name: p.detach() for name, p in named.items()}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("name", split.PARTS)
def test_parts_equal_the_dense_ones(everything, name, ranks, way):
    right = dense.through(split.PARTS[name][0]())
    for said in everything[ranks]:
        equal(said[name, way][0], right)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ranks", RANKS)
def test_a_gpt_has_loss_logits_and_gradients_of_the_dense_one(
    everything, ranks, way
):
    for said in everything[ranks]:
        equal(said["model", way][0], whole_step(), rtol=1e-11, atol=1e-13)


@pytest.fixture(scope="module")
def meshed(processes):
    """What four ranks found, two for each of two copies."""
    return run(split.meshed, 4, processes=processes)


@pytest.mark.parametrize("copy", (0, 1))
def test_two_groups_of_ranks_are_two_models(meshed, copy):
    made = dense.model()
    loss = train.loss(made, *dense.text(seed=10 + copy))
    loss.backward()
    grads = {name: p.grad for name, p in made.named_parameters()}
    norm = torch.nn.utils.get_total_norm(grads.values())
    right = {"loss": loss.detach(), "norm": norm, **grads}
    for said in meshed[2 * copy : 2 * copy + 2]:
        for way in WAYS:
            equal(said[way], right, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("copy", (0, 1))
def test_keys_are_shared_within_a_group_of_ranks(meshed, copy):
    made = dense.grouped(4, 1)
    x, weights = dense.rows(seed=10 + copy)
    (made(x, split.still) * weights).sum().backward()
    right = {name: p.grad for name, p in made.named_parameters()}
    for said in meshed[2 * copy : 2 * copy + 2]:
        equal(said["grouped"], right)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("ranks", "length"), [(3, 6), (4, 4)])
def test_of_short_texts_a_rank_may_have_one_token(
    everything, ranks, length, way
):
    right = whole_step(torch.float64, length)
    for said in everything[ranks]:
        equal(said["short", way], right, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ranks", RANKS)
def test_an_uneven_vocabulary_needs_no_padding(everything, ranks, way):
    assert dense.CONFIG.vocab_size % 4 and dense.CONFIG.vocab_size % 3
    table = dense.model().transformer.wte
    out = table(dense.text()[0])
    (out * dense.rows()[1]).sum().backward()
    right = {"output": out.detach(), "weight": table.weight.grad}
    for said in everything[ranks]:
        equal(said["embedding", way], right)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_with_fewer_digits_it_is_as_exact_as_the_dense_model(
    steps, dtype, way
):
    right, plain = whole_step(), whole_step(dtype)
    said = steps[0][dtype, way]
    for name in ("logits", "transformer.h.0.attn.c_attn.weight.grad"):
        ours = (torch.from_numpy(said[name]) - right[name]).norm()
        theirs = (plain[name] - right[name]).norm()
        assert ours <= 2 * theirs, (name, ours / theirs)


@pytest.mark.parametrize("way", WAYS)
def test_training_stays_equal_for_20_steps(steps, way):
    made = dense.model()
    losses = split.steps_of(made, lambda *b: train.loss(made, *b), 20)
    ours, weights = steps[1]["trained", way]
    assert_close(ours, losses, rtol=1e-11, atol=0)
    assert losses[-1] < losses[0]
    state = {name: p.detach() for name, p in made.named_parameters()}
    equal(weights, state, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("way", WAYS)
def test_what_every_rank_holds_stays_the_same_on_all(steps, way):
    for said in steps:
        apart = said["apart", way]
        assert "transformer.ln_f.weight" in apart
        assert "transformer.h.0.mlp.c_proj.bias" in apart
        assert "transformer.wpe.weight" in apart
        assert max(apart.values()) < 1e-15


@pytest.mark.parametrize("ranks", RANKS)
def test_a_layer_asks_for_two_all_reduces_each_way(everything, ranks):
    for said in everything[ranks]:
        _, (forward, out), (backward, back) = said["block", "replicated"]
        assert forward == backward == {"all-reduce": 2}
        assert out == back == LINEAR(ranks) / 2


def test_by_hand_a_layer_sends_8bsh_times_t_minus_1_over_t():
    assert [traffic(1, 4, 6, t) for t in (1, 2, 3, 4)] == [0, 96, 128, 144]
    assert traffic(1, 2048, 12288, 8) == 176_160_768


@pytest.mark.parametrize("ranks", RANKS)
def test_sequence_parallelism_sends_as_much_in_twice_as_many_calls(
    everything, ranks
):
    for said in everything[ranks]:
        _, (forward, out), (backward, back) = said["block", "pieces"]
        assert forward == {"all-gather": 2, "reduce-scatter": 2}
        assert out == LINEAR(ranks) / 2
        # and the gradients of two norms and two biases
        assert backward == {**forward, "all-reduce": 6}
        assert back * ranks == out * ranks + 2 * (ranks - 1) * 6 * 24


def test_a_step_of_a_gpt_adds_embedding_head_and_loss(everything):
    layers = dense.CONFIG.n_layer
    for said in everything[2]:
        _, forward, backward = said["model", "replicated"]
        # Ids are equal; the embedding; the largest logit; sum and target.
        assert forward[0] == {"all-reduce": 2 * layers + 4}
        assert backward[0] == {"all-reduce": 2 * layers + 1}  # the head
        tokens, width = dense.BATCH * dense.LENGTH, 24
        more = 2 * tokens * width + 3 * tokens + 2  # 2n(t − 1)/t = n
        assert forward[1] + backward[1] == LINEAR(2, layers) + more


def test_parameters_are_those_of_the_models_that_the_papers_print():
    with torch.device("meta"):
        for layers, hidden, heads in ((24, 1024, 16), (3, 10, 5), (1, 7, 1)):
            config = gpt.GPTConfig(99, 31, hidden, layers, heads)
            count = gpt.parameters(gpt.GPT(config))
            assert parameters(layers, hidden, 99, 31) == count
