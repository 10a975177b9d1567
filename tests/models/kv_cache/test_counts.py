"""What the chapter claims of bytes, flops and intensity, proved."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from llmnotes.models.kv_cache import (
    DEEPSEEK_V2,
    DEEPSEEK_V2_AS_MHA,
    GPT_3,
    MISTRAL_7B,
    MIXTRAL_8X7B,
    OPT_13B,
    KVCache,
    bytes_per_token,
    heads_of,
    intensity,
    ridge,
    step_flops,
    step_traffic,
)
from llmnotes.models.llama import (
    LLAMA_2_7B,
    LLAMA_2_13B,
    LLAMA_2_70B,
    LLAMA_3_1_405B,
    LLAMA_3_8B,
)
from tests.models.kv_cache.tiny import llama, some_ids

PUBLISHED = {
    "GPT-3": (GPT_3, 4_718_592),
    "OPT-13B": (OPT_13B, 819_200),
    "Llama 2 7B": (heads_of(LLAMA_2_7B), 524_288),
    "Llama 2 13B": (heads_of(LLAMA_2_13B), 819_200),
    "Llama 2 70B": (heads_of(LLAMA_2_70B), 327_680),
    "Llama 3 8B": (heads_of(LLAMA_3_8B), 131_072),
    "Llama 3.1 405B": (heads_of(LLAMA_3_1_405B), 516_096),
    "Mistral 7B": (MISTRAL_7B, 131_072),
    "Mixtral 8x7B": (MIXTRAL_8X7B, 131_072),
    "DeepSeek-V2": (DEEPSEEK_V2, 69_120),
    "DeepSeek-V2 with MHA": (DEEPSEEK_V2_AS_MHA, 3_932_160),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_bytes_per_token_are_exact(name):
    kept, right = PUBLISHED[name]
    assert bytes_per_token(kept) == right


def test_the_formula_is_what_a_cache_really_takes():
    for kv_heads in (4, 2, 1):
        model, past = llama(num_key_value_heads=kv_heads), KVCache(7)
        with torch.no_grad():
            model(some_ids(3), past=past)
        kept = heads_of(model.config)
        assert past.bytes == 3 * 7 * bytes_per_token(kept, width=8)


@pytest.mark.parametrize("past_length", [0, 5])
def test_flops_are_those_that_pytorch_counts(past_length):
    model, past = llama(num_key_value_heads=2), KVCache(12)
    new, config = 6 if past_length == 0 else 1, model.config
    with torch.no_grad():
        if past_length:
            model(some_ids(2, past_length), past=past)
        counter = FlopCounterMode(display=False)
        with sdpa_kernel(SDPBackend.MATH), counter:
            model(some_ids(2, new), past=past)
    counted = counter.get_total_flops()
    # It runs the head on every token and knows no causal mask.
    head = config.vocab_size * config.hidden_size
    wide = config.num_attention_heads * config.head_dim
    future = new * (new - 1) // 2
    more = 2 * (2 * (new - 1) * head)
    more += 2 * 4 * config.num_hidden_layers * wide * future
    assert counted - more == step_flops(config, new, past_length, batch=2)


def test_a_batch_reads_the_weights_once_and_each_cache_for_itself():
    one = step_traffic(LLAMA_3_8B, 1, 1000)
    two = step_traffic(LLAMA_3_8B, 1, 1000, batch=2)
    assert two - one == 1001 * 131_072


def test_one_token_computes_about_one_flop_for_each_byte():
    assert intensity(LLAMA_3_8B, 1) == pytest.approx(1, abs=0.01)
    assert intensity(LLAMA_3_8B, 512) > 295


def test_the_cache_alone_allows_as_many_flops_as_queries_share_a_key():
    """4 flops for each query head and dimension, 4 bytes for each key's."""
    far = intensity(LLAMA_3_8B, 1, past=10**9, batch=64)
    assert far == pytest.approx(32 / 8, rel=1e-3)
    assert intensity(LLAMA_2_7B, 1, 10**9, 64) == pytest.approx(1, rel=1e-3)


def test_the_ridge_of_an_h100():
    assert ridge(989e12, 3.35e12) == pytest.approx(295.2, abs=0.1)
