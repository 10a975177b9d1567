"""Segments one after the other: equal to the whole, and without gradient."""

import pytest
import torch

from llmnotes.models.transformer_xl import (
    Memory,
    SameLength,
    TransformerXLConfig,
)
from tests.models.transformer_xl.tiny import (
    SHAPE,
    as_readers_call,
    in_segments,
    tiny,
    tokens,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("segment", [1, 5, 12, 13])
def test_with_a_memory_long_enough_segments_equal_the_whole(segment):
    model, ids = tiny(), tokens(2, 13)
    found = in_segments(model, ids, segment, Memory(12))
    torch.testing.assert_close(found, model(ids), rtol=1e-12, atol=1e-12)


def test_segments_of_mixed_length_equal_the_whole():
    model, ids = tiny(), tokens(2, 13)
    memory = Memory(50)
    parts = [model(x, memory) for x in ids.split([1, 6, 2, 4], 1)]
    assert memory.length == 13
    torch.testing.assert_close(
        torch.cat(parts, 1), model(ids), rtol=1e-12, atol=1e-12
    )


def test_a_shorter_memory_sees_less():
    model, ids = tiny(), tokens(2, 12)
    whole = model(ids)
    found = in_segments(model, ids, 4, Memory(3))
    assert torch.allclose(found[:, :4], whole[:, :4])
    assert not torch.allclose(found[:, 4], whole[:, 4])


def constant_past(model, ids, cut):
    """The whole text in one pass; each layer's input is constant below cut."""
    x = model.embed(ids) * SHAPE.d_model**0.5
    places = model.places(Memory(0), x)
    for layer in model.layers:
        x = torch.cat([x[:, :cut].detach(), x[:, cut:]], 1)
        x = layer(x, x[:, :0], *places)
    return model.head(x)[:, cut:]


def gradients(model, logits):
    """Of a loss over the logits, by parameter."""
    model.zero_grad()
    logits.square().sum().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters()}


def test_every_gradient_is_that_of_a_constant_past():
    model, ids = tiny(), tokens(2, 11)
    memory = Memory(20)
    model(ids[:, :6], memory)
    ours = gradients(model, model(ids[:, 6:], memory))
    theirs = gradients(model, constant_past(model, ids, 6))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_no_gradient_flows_into_memory():
    model, ids = tiny(), torch.tensor([[1, 2, 3, 4, 5, 6]])
    memory = Memory(3)
    model(ids[:, :3], memory)
    assert not any(x.requires_grad for x in memory.states)
    found = gradients(model, model(ids[:, 3:], memory))["embed.weight"]
    assert found.abs().sum(-1).nonzero().flatten().tolist() == [4, 5, 6]
    whole = gradients(model, model(ids)[:, 3:])["embed.weight"]
    assert whole.abs().sum(-1).nonzero().flatten().tolist() == [*range(1, 7)]


def test_weights_of_keys_learn_from_the_memory():
    """Were keys kept in the place of states, that part would be missing."""
    model, ids = tiny(), tokens(1, 8)
    found = {}
    for kept in "states", "keys":
        memory = Memory(5)
        model(ids[:, :5], memory)
        hooks = [
            layer.attn.k_proj.register_forward_hook(
                lambda _, inputs, out: torch.cat(
                    [out[:, :5].detach(), out[:, 5:]], 1
                )
            )
            for layer in model.layers
            if kept == "keys"
        ]
        found[kept] = gradients(model, model(ids[:, 5:], memory))
        for hook in hooks:
            hook.remove()
    states, keys = found["states"], found["keys"]
    name = "layers.1.attn.k_proj.weight"
    assert not torch.allclose(states[name], keys[name])
    assert torch.equal(states["head.weight"], keys["head.weight"])


def test_a_row_that_is_reset_reads_as_if_it_were_new():
    model, ids = tiny(), tokens(3, 12)
    memory, forgetful, fresh = Memory(8), Memory(8), Memory(8)
    model(ids[:, :5], memory)
    model(ids[:, :5], forgetful)
    forgetful.reset(1)
    goes_on, found, new = (
        in_segments(model, ids[:, 5:], 4, one)
        for one in (memory, forgetful, fresh)
    )
    torch.testing.assert_close(found[1], new[1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[[0, 2]], goes_on[[0, 2]])
    assert not torch.allclose(found[1], goes_on[1])


def test_several_rows_are_reset_at_once():
    model, ids = tiny(), tokens(3, 7)
    memory = Memory(4)
    model(ids[:, :3], memory)
    memory.reset(0, 2)
    assert memory.filled == [0, 3, 0]
    found = model(ids[:, 3:], memory)
    torch.testing.assert_close(found[[0, 2]], model(ids[[0, 2], 3:]))
    assert memory.filled == [4, 4, 4]  # never more than is kept


def test_what_is_forgotten_is_not_held():
    """The states are no views of longer ones."""
    model, memory = tiny(), Memory(3)
    model(tokens(2, 9), memory)
    for x in memory.states:
        assert x.untyped_storage().nbytes() == x.numel() * x.element_size()


def test_rows_are_reset_at_different_times():
    model, ids = tiny(), tokens(2, 9)
    memory, alone = Memory(7), Memory(7)
    model(ids[:, :3], memory)
    memory.reset(0)
    model(ids[:, 3:6], memory)
    assert memory.filled == [3, 6]
    memory.reset(1)
    last = model(ids[:, 6:], memory)
    model(ids[:1, 3:6], alone)
    torch.testing.assert_close(last[0], model(ids[:1, 6:], alone)[0])
    torch.testing.assert_close(last[1], model(ids[1:, 6:])[0])
    assert memory.filled == [6, 3]


@pytest.mark.parametrize("mem_len", [0, 1, 3, 5, 7])
def test_a_memory_keeps_the_newest_and_no_more(mem_len):
    model, ids = tiny(), tokens(2, 9)
    memory = Memory(mem_len)
    in_segments(model, ids, 3, memory)
    assert memory.length == mem_len
    if mem_len:
        newest = model.embed(ids[:, -mem_len:]) * SHAPE.d_model**0.5
        assert torch.equal(memory.states[0], newest)
        assert len(memory.states) == SHAPE.n_layer


def test_a_memory_of_nothing_is_no_memory():
    model, ids = tiny(), tokens(2, 9)
    memory = Memory(0)
    found = in_segments(model, ids, 3, memory)
    model(ids[:1], memory)  # nobody's rows: any batch will do
    parts = torch.cat([model(x) for x in ids.split(3, 1)], 1)
    assert torch.equal(found, parts)


def test_a_memory_of_zeros_is_not_an_empty_one():
    """Zeros have no content, but places, and take weight from the rest."""
    model, ids = tiny(), tokens(1, 4)
    zeros = Memory(6)
    zeros.states = [torch.zeros(1, 6, 12).double()] * 2
    zeros.filled = [6]
    assert not torch.allclose(model(ids, zeros), model(ids, Memory(6)))


@pytest.mark.parametrize("segment, mem_len", [(2, 3), (5, 9), (12, 3)])
def test_same_length_does_not_depend_on_the_cut(segment, mem_len):
    model, ids = tiny(SHAPE, SameLength, 4), tokens(2, 12)
    found = in_segments(model, ids, segment, Memory(mem_len))
    torch.testing.assert_close(found, model(ids), rtol=1e-12, atol=1e-12)
    short = in_segments(model, ids, 4, Memory(2))
    assert not torch.allclose(short, model(ids))


def test_same_length_sees_equally_many_keys_everywhere():
    model = tiny(SHAPE, SameLength, 4)
    assert model.seen(3, 9, CPU).sum(-1).tolist() == [4, 4, 4]
    assert tiny().seen(3, 9, CPU).sum(-1).tolist() == [7, 8, 9]


def test_what_does_not_fit_is_refused_and_changes_nothing():
    model, ids = tiny(), tokens(4, 3)
    memory = Memory(5)
    model(ids, memory)
    before = list(memory.states)
    wide = tiny(TransformerXLConfig(11, 18, 3, 20, 2))
    deep = tiny(TransformerXLConfig(11, 12, 3, 20, 3))
    for other, given, words in (
        (model, ids[:3], "ids: got a batch of 3, expected the 4 rows whose"),
        (wide, ids, "memory: got d_model 12, expected the model's 18"),
        (deep, ids, "memory: got layers 2, expected the model's 3"),
        (tiny().float(), ids, "memory: got dtype torch.float64, expected"),
        (model, ids + 9, "ids: got .* to .*, expected 0 to 10"),
        (model, ids.double(), "ids: got torch.float64, expected an integer"),
        (model, ids[0], r"ids: got shape \(3,\)"),
        (model, ids[:, :0], r"ids: got shape \(4, 0\)"),
    ):
        with pytest.raises(ValueError, match=words):
            other(given, memory)
    assert all(a is b for a, b in zip(before, memory.states, strict=True))
    with pytest.raises(ValueError, match="row: got 4, expected one of the 4"):
        memory.reset(0, 4)
    assert memory.filled == [3, 3, 3, 3]
    with pytest.raises(ValueError, match="row: got -1"):
        memory.reset(-1)
    with pytest.raises(ValueError, match="mem_len: got -1"):
        Memory(-1)
    with pytest.raises(ValueError, match="window: got 0"):
        SameLength(SHAPE, 0)


def other_models():
    """Models that cannot read what `tiny` has remembered, and their words."""
    wide = tiny(TransformerXLConfig(11, 18, 3, 20, 2))
    deep, flat = (
        tiny(TransformerXLConfig(11, 12, 3, 20, layers)) for layers in (3, 1)
    )
    return {
        "wide": (wide, "memory: got d_model 12, expected the model's 18"),
        "deep": (deep, "memory: got layers 2, expected the model's 3"),
        "flat": (flat, "memory: got layers 2, expected the model's 1"),
        "half": (
            tiny().half(),
            "memory: got dtype torch.float64, expected the model's "
            "torch.float16",
        ),
        "elsewhere": (
            tiny().to("meta"),
            "memory: got device cpu, expected the model's meta",
        ),
    }


@pytest.mark.parametrize("name", list(other_models()))
def test_a_memory_of_another_model_is_refused_and_left_as_it_was(name):
    model, ids = tiny(), tokens(4, 6)
    memory, alone = Memory(5), Memory(5)
    for one in memory, alone:
        model(ids[:, :3], one)
    other, words = other_models()[name]
    with pytest.raises(ValueError, match=words):
        other(ids[:, 3:].to(other.embed.weight.device), memory)
    assert memory.filled == alone.filled
    after = [model(ids[:, 3:], one) for one in (memory, alone)]
    assert torch.equal(*after)


@pytest.mark.parametrize("rows", [1, 3, 5])
def test_other_rows_are_refused_and_the_memory_goes_on(rows):
    model, ids = tiny(), tokens(4, 6)
    memory, alone = Memory(5), Memory(5)
    for one in memory, alone:
        model(ids[:, :3], one)
    with pytest.raises(
        ValueError,
        match=f"ids: got a batch of {rows}, expected the 4 rows whose memory "
        "this is; give a new batch a new Memory",
    ):
        model(tokens(rows, 3), memory)
    after = [model(ids[:, 3:], one) for one in (memory, alone)]
    assert torch.equal(*after)


def test_what_fails_at_the_end_is_not_remembered():
    """So that a segment which ran out of room can be read once more."""
    model, ids = tiny(), tokens(2, 6)
    memory = Memory(5)
    first = model(ids[:, :3], memory)
    head, model.head = model.head, torch.nn.Linear(5, 11).double()
    with pytest.raises(RuntimeError):
        model(ids[:, 3:], memory)
    assert memory.length == 3
    model.head = head
    found = torch.cat([first, model(ids[:, 3:], memory)], 1)
    torch.testing.assert_close(found, model(ids), rtol=1e-12, atol=1e-12)


def test_only_a_memory_is_a_memory():
    for given, name in (([], "list"), (5, "int"), (torch.zeros(1), "Tensor")):
        with (
            as_readers_call(),
            pytest.raises(
                ValueError, match=f"memory: got {name}, expected a Memory"
            ),
        ):
            tiny()(tokens(1, 3), given)
    for given in (2.5, None, True):
        with (
            as_readers_call(),
            pytest.raises(
                ValueError, match=f"mem_len: got {given}, expected an integer"
            ),
        ):
            Memory(given)


def test_inputs_of_layers_that_differ_are_not_kept():
    memory = Memory(4)
    for inputs, words in (
        ([], r"inputs: got shapes \[\], expected one shape"),
        (
            [torch.zeros(2, 3, 4), torch.zeros(2, 2, 4)],
            r"inputs: got shapes \[\(2, 2, 4\), \(2, 3, 4\)\], expected",
        ),
    ):
        with as_readers_call(), pytest.raises(ValueError, match=words):
            memory.keep(inputs)
    assert memory.length == 0
    assert memory.filled == []
    with (
        as_readers_call(),
        pytest.raises(ValueError, match="row: got 0, expected one of the 0"),
    ):
        memory.reset(0)
    with (
        as_readers_call(),
        pytest.raises(ValueError, match="row: got 0.5, expected an integer"),
    ):
        memory.reset(0.5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_read_segments_as_the_whole(dtype):
    """To rounding: each as far from float64 as the whole is, or twice it."""
    low, ids = tiny().to(dtype), tokens(2, 13)
    exact = tiny()
    exact.load_state_dict(low.state_dict())
    right = exact(ids)
    whole = (low(ids).double() - right).abs().max()
    memory = Memory(12)
    found = in_segments(low, ids, 5, memory)
    assert found.dtype == dtype
    assert {x.dtype for x in memory.states} == {dtype}
    assert (found.double() - right).abs().max() <= 2 * whole


def test_a_memory_from_autocast_is_read_on_without_it():
    model, ids = tiny().float(), tokens(2, 8)
    memory = Memory(8)
    with torch.autocast("cpu", torch.bfloat16):
        model(ids[:, :4], memory)
    assert {x.dtype for x in memory.states} == {torch.float32}
    found = model(ids[:, 4:], memory)
    torch.testing.assert_close(found, model(ids)[:, 4:], rtol=0.1, atol=0.1)
