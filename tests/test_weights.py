"""What the names and the memory of a model's weights claim, proved."""

import torch
from torch import nn

from llmnotes.weights import apart, bare, plain_name, weights


def test_wrappers_are_taken_off_in_any_order_and_models_are_left_alone():
    model = nn.Linear(2, 3)
    for wrapped in (
        model,
        torch.compile(model),
        nn.DataParallel(model),
        nn.DataParallel(torch.compile(model)),
        torch.compile(nn.DataParallel(model)),
    ):
        assert bare(wrapped) is model
    outer = nn.Module()
    outer.module = model
    assert bare(outer) is outer


def test_a_name_is_plain_wherever_the_wrapper_was():
    for name in ("h.0.bias", "_orig_mod.h.0.bias", "h.0._orig_mod.bias"):
        assert plain_name(name) == "h.0.bias"


def test_each_tensor_gets_a_place_of_its_own_and_the_same_numbers():
    flat = torch.arange(12.0)
    given = {
        "left": flat[:5], "right": flat[5:], "across": flat[3:7],
        "whole": flat, "again": flat, "turned": flat.view(3, 4).T,
        "alone": torch.ones(3), "empty": torch.ones(0),
    }  # fmt: skip
    found = apart(given)
    assert found.keys() == given.keys()
    places = [x.untyped_storage().data_ptr() for x in found.values() if len(x)]
    assert len(set(places)) == len(places)
    for name, x in found.items():
        assert torch.equal(x, given[name])
        assert x.is_contiguous()
        assert x.untyped_storage().nbytes() == x.nbytes
    assert found["alone"].data_ptr() == given["alone"].data_ptr()  # no copy


def test_a_tied_weight_is_listed_once_and_a_view_of_it_is_another():
    model = nn.Module()
    model.one = nn.Parameter(torch.ones(3, 3))
    model.two = model.one
    model.turned = nn.Parameter(model.one.data.T)
    assert weights(model).keys() == {"one", "turned"}
