"""The strongest plain programs compute what all the others do."""

import os

import pytest
import torch

from llmnotes.kernels.attention_speed import (
    CONTESTANTS,
    baselines,
    compiled,
    compiler_missing,
    decode,
    five_lines,
    flex,
    forward,
    forward_backward,
    in_place,
    same_answers,
    torch_sdpa,
)
from llmnotes.transformer.attention import attention

EAGER = {"five_lines": five_lines, "in_place": in_place}
RUNS = [forward, forward_backward, decode]


def inputs(queries, keys, batch=1):
    torch.manual_seed(0)
    return [
        torch.randn(batch, 2, length, 16) for length in (queries, keys, keys)
    ]


def needs_a_compiler():
    """In CI there is one; elsewhere a reader may do without."""
    if compiler_missing():
        leave = pytest.fail if os.environ.get("CI") else pytest.skip
        leave(f"torch.compile: {compiler_missing()}")


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("queries", "keys"), [(37, 37), (1, 50), (16, 23)])
def test_five_lines_and_in_place_give_the_plain_answer(run, queries, keys):
    found = same_answers(EAGER, *inputs(queries, keys), run=run)
    assert max(found.values()) < 2e-6


@pytest.mark.parametrize("function", [five_lines, in_place, torch_sdpa])
def test_a_scale_of_zero_is_no_missing_scale(function):
    query, key, value = inputs(5, 9)
    out = function(query, key, value, scale=0.0)
    mean = value.mean(-2, keepdim=True).expand_as(out)
    torch.testing.assert_close(out, mean)


def test_in_place_keeps_one_matrix_where_five_lines_keep_more():
    def kept(function):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x: sizes.append((x.data_ptr(), x.numel())) or x,
            lambda x: x,
        ):
            function(*(x.requires_grad_() for x in inputs(64, 64)))
        return sum(n for _, n in set(sizes) if n == 2 * 64 * 64)

    assert kept(in_place) == 2 * 64 * 64


@pytest.mark.parametrize(("queries", "keys"), [(1, 9), (4, 9), (9, 9), (9, 4)])
def test_sdpa_is_asked_for_what_the_others_compute(queries, keys):
    query, key, value = inputs(queries, keys)
    wanted = attention(query, key, value, causal=True)
    found = torch_sdpa(query, key, value, causal=True)
    torch.testing.assert_close(found, wanted)


def test_everybody_agrees_on_the_next_token():
    for batch in (1, 3):
        cache = inputs(1, 70, batch)
        assert (
            max(same_answers(CONTESTANTS, *cache, run=decode).values()) < 2e-6
        )


def test_torchs_own_alignment_would_be_refused():
    def top_left(query, key, value, *, causal):
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=causal
        )

    with pytest.raises(ValueError, match=r"contestants\['torch'\]: got"):
        same_answers({"torch": top_left}, *inputs(4, 9))


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("function", "run"),
    [(compiled, forward), (compiled, forward_backward), (flex, forward)],
)
def test_what_is_compiled_gives_the_plain_answer(function, run):
    needs_a_compiler()
    found = same_answers({"it": function}, *inputs(16, 23), run=run)
    assert found["it"] < 2e-6


def test_each_kind_of_call_is_compiled_on_its_own(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda f, dynamic: f)
    one = baselines.compiled_for(five_lines, "test", 1)
    other = baselines.compiled_for(five_lines, "test", 2)
    assert one is baselines.compiled_for(five_lines, "test", 1)
    assert one.__code__ is not other.__code__
    query, key, value = inputs(3, 5)
    wanted = attention(query, key, value, causal=True)
    torch.testing.assert_close(one(query, key, value, causal=True), wanted)


def test_without_a_compiler_the_reason_is_told(monkeypatch):
    def nothing_there(function, **options):
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler\nmore")

    monkeypatch.setattr(torch, "compile", nothing_there)
    baselines.compiler_missing.cache_clear()
    assert "No working C++ compiler" in compiler_missing()
    baselines.compiler_missing.cache_clear()
