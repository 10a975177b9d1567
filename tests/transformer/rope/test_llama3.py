"""The frequencies of Llama 3.1 and later are Hugging Face's."""

import math

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from llmnotes.transformer.positions import frequencies
from llmnotes.transformer.rope import llama3

HEADS = 6
LLAMA_3 = {  # Llama 3.1 and 3.2, as their config.json has it, and an odd one
    "3.1": (128, 8.0, 8192, 500000.0, 1.0, 4.0),
    "3.2": (64, 32.0, 8192, 500000.0, 1.0, 4.0),
    "small": (16, 3.0, 64, 10000.0, 0.5, 7.0),
}


@pytest.mark.parametrize("case", LLAMA_3)
def test_llama3_equals_hugging_face(case):
    head_dim, factor, length, base, slow, fast = LLAMA_3[case]
    config = LlamaConfig(hidden_size=HEADS * head_dim,
                         num_attention_heads=HEADS)  # fmt: skip
    config.rope_parameters = {
        "rope_type": "llama3",
        "rope_theta": base,
        "factor": factor,
        "low_freq_factor": slow,
        "high_freq_factor": fast,
        "original_max_position_embeddings": length,
    }
    theirs, scale = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    ours = llama3(head_dim, factor, length, base, slow=slow, fast=fast)
    torch.testing.assert_close(ours.float(), theirs)
    assert scale == 1
    plain = frequencies(head_dim, base)
    turns = length * plain / (2 * math.pi)
    assert torch.equal(ours[turns >= fast], plain[turns >= fast])
    assert torch.equal(ours[turns <= slow], plain[turns <= slow] / factor)


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("factor: got 0.5", {"factor": 0.5}),
        ("slow: got 4.0, expected 0 < slow < 4.0", {"slow": 4.0}),
        ("slow: got 0", {"slow": 0}),
        ("trained_length: got 0", {"trained_length": 0}),
        ("head_dim: got 7", {"head_dim": 7}),
    ],
)
def test_what_is_out_of_range_is_named(message, options):
    good = {"head_dim": 8, "factor": 8.0, "trained_length": 64}
    with pytest.raises(ValueError) as error:
        llama3(**good | options)
    assert str(error.value).startswith(message)
