"""The list of calls says what each of them reads and writes."""

import numpy as np
import pytest

from llmnotes.transformer.gpt2_by_hand import (
    At,
    backward,
    forward,
    reference,
    run,
    update,
    update_of,
)
from llmnotes.transformer.gpt2_by_hand.calls import find
from llmnotes.transformer.gpt2_by_hand.layout import TOP
from tests.transformer.gpt2_by_hand import tiny

LAYERS = tiny.TINY.n_layer


def test_a_step_of_gpt2_is_so_many_calls():
    assert len(forward(12)) == 1 + 12 * 10 + 4
    assert len(backward(12)) == 3 + 12 * 10 + 1


def test_a_call_names_its_tensors_in_the_kernels_order():
    third = forward(4)[1 + 2 * 10]
    assert third.name == "layernorm_forward" and third.layer == 2
    assert list(map(str, third.arguments)) == [
        "ln1[2]", "ln1_mean[2]", "ln1_rstd[2]", "residual3[1]", "ln1w[2]",
        "ln1b[2]",
    ]  # fmt: skip
    assert forward(4)[1].reads[0] == At("encoded")
    (whole,) = update()
    words = [str(place) for place in whole.arguments]
    assert words[:4] == ["params", "grads", "m", "v"]
    assert words[4:] == ["lr", "beta1", "beta2", "eps", "weight_decay", "t"]


def test_every_tensor_is_written_once_and_before_it_is_read():
    written = set()
    given = {"inputs", "targets", "V", *tiny.by_hand().weights}
    for one in forward(LAYERS):
        for place in one.reads:
            known = place is None or place.name in given or place in written
            assert known, (one.name, place)
        assert not written & set(one.writes), one
        written |= set(one.writes)
    ours = tiny.by_hand()
    ours.forward(*tiny.ids())
    assert {place.name for place in written} == set(ours.acts)


def test_a_gradient_is_read_only_when_all_that_add_to_it_have_done_so():
    calls = backward(LAYERS)
    for i, one in enumerate(calls):
        later = {place for after in calls[i + 1 :] for place in after.writes}
        assert not later & set(one.reads) - set(one.writes), one


class Watched:
    """Kernels of `reference` that look at all tensors before and after."""

    def __init__(self, tensors):
        self.tensors, self.changed = tensors, None

    def __getattr__(self, name):
        def kernel(*arguments):
            before = {
                k: x.copy()
                for k, x in self.tensors.items()
                if isinstance(x, np.ndarray)
            }
            getattr(reference, name)(*arguments)
            self.changed = {
                k
                for k, x in before.items()
                if not np.array_equal(x, self.tensors[k])
            }

        return kernel


def test_a_call_changes_what_it_says_and_nothing_else():
    ours = tiny.stepped()
    ours.loss = 1.0
    ours.update()
    kernels = Watched(ours.tensors)
    for arena in (ours.acts, ours.dacts):
        arena.numbers[:] = 0.01
    todo = [*forward(LAYERS), *backward(LAYERS)]
    todo += [update_of(name) for name in TOP]
    for one in todo:
        run([one], kernels, ours.tensors)
        said = {place.name for place in one.writes if place}
        changed = kernels.changed - {"params", "grads", "m", "v"}
        assert changed <= said, (one, changed)
        missing = said - changed - {"dpreatt", "datt", "probs"}
        assert not missing, (one, missing)


def test_in_pieces_the_update_has_the_same_bits():
    whole, pieces = tiny.stepped(), tiny.stepped()
    for ours in (whole, pieces):
        ours.update(lr=0.01, weight_decay=0.1)  # both have moments now
        ours.tensors["t"] = 2
    run(update(), reference, whole.tensors)
    for name in whole.weights:
        layers = [None] if name in TOP else range(LAYERS)
        for layer in layers:
            run([update_of(name, layer)], reference, pieces.tensors)
    for a, b in ((whole.weights, pieces.weights), (whole.m, pieces.m)):
        assert np.array_equal(a.numbers, b.numbers)
    assert np.array_equal(whole.v.numbers, pieces.v.numbers)


@pytest.mark.parametrize("name, layer", [("wte", 0), ("qkvw", None)])
def test_a_layer_is_asked_for_where_there_are_layers(name, layer):
    with pytest.raises(ValueError, match=f"^layer: got {layer} for {name}"):
        update_of(name, layer)


def test_a_place_is_a_view_and_none_is_none():
    tensors = tiny.by_hand().tensors
    assert np.shares_memory(find(tensors, At("qkvw", 1)), tensors["params"])
    assert find(tensors, None) is None
    assert find(tensors, At("V")) == 11
