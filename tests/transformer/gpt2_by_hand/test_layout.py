"""Where the tensors lie, for GPT-2 124M and for odd sizes."""

import numpy as np
import pytest

from llmnotes.transformer.gpt import GPT_2_SMALL, GPTConfig
from llmnotes.transformer.gpt2_by_hand import (
    Tensors,
    activation_shapes,
    padded,
    parameter_shapes,
)
from tests.transformer.gpt2_by_hand.tiny import TINY

PARAMETERS = (
    "wte wpe ln1w ln1b qkvw qkvb attprojw attprojb ln2w ln2b fcw fcb "
    "fcprojw fcprojb lnfw lnfb"
).split()
ACTIVATIONS = (
    "encoded ln1 ln1_mean ln1_rstd qkv atty preatt att attproj residual2 "
    "ln2 ln2_mean ln2_rstd fch fch_gelu fcproj residual3 lnf lnf_mean "
    "lnf_rstd logits probs losses"
).split()


def numbers(shapes):
    return sum(int(np.prod(shape)) for shape in shapes.values())


def test_there_are_16_parameter_and_23_activation_tensors_in_llm_cs_order():
    assert list(parameter_shapes(TINY)) == PARAMETERS
    assert list(activation_shapes(TINY, 2, 5)) == ACTIVATIONS


def test_gpt2_has_the_published_number_of_parameters():
    assert numbers(parameter_shapes(GPT_2_SMALL)) == 124_439_808
    rows = padded(GPT_2_SMALL.vocab_size)
    assert numbers(parameter_shapes(GPT_2_SMALL, rows)) == 124_475_904


def test_activations_are_llm_cs_to_the_digit():
    assert numbers(activation_shapes(GPT_2_SMALL, 4, 64)) == 73_323_776
    wide = activation_shapes(GPT_2_SMALL, 4, 64, 50_304)
    assert numbers(wide) == 73_347_840


def test_fcproj_is_as_wide_as_the_model_and_not_four_times():
    shapes = activation_shapes(GPT_2_SMALL, 4, 64)
    assert shapes["fcproj"] == (12, 4, 64, 768)
    wrong = shapes | {"fcproj": (12, 4, 64, 4 * 768)}
    assert numbers(wrong) == 80_401_664


@pytest.mark.parametrize(
    "tokens, rows",
    [(1, 128), (127, 128), (128, 128), (129, 256), (50257, 50304)],
)
def test_rows_are_padded_to_the_next_multiple_of_128(tokens, rows):
    assert padded(tokens) == rows


def test_tensors_lie_one_after_another_without_gaps_and_are_views():
    tensors = Tensors(parameter_shapes(TINY, 13), np.float64)
    tensors.numbers[:] = np.arange(tensors.numbers.size)
    end = 0
    for name, tensor in tensors.items():
        assert tensors.offsets[name] == end
        assert tensor.flags.c_contiguous and tensor.dtype == np.float64
        assert np.array_equal(
            tensor.ravel(), np.arange(end, end + tensor.size)
        )
        end += tensor.size
    assert end == tensors.numbers.size and len(tensors) == 16
    tensors["qkvw"][1, 2, 3] = -1
    assert (tensors.numbers == -1).sum() == 1


def test_a_name_that_is_not_there_is_a_key_error():
    with pytest.raises(KeyError, match="fcproj2"):
        Tensors({"a": (2, 3)})["fcproj2"]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: padded(0), "vocab_size: got 0, expected at least 1"),
        (
            lambda: parameter_shapes(GPTConfig(11, 7, 12, 2, 3), 10),
            "rows: got 10, expected at least 11",
        ),
        (
            lambda: activation_shapes(GPTConfig(11, 7, 12, 2, 3), 0, 5),
            "batch: got 0, expected at least 1",
        ),
    ],
)
def test_sizes_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()
