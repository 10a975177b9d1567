"""What the page concludes from the races of eight attentions."""

import pytest

from tests.claims import claimed

RUN = {"dtype": "float32"}
FORWARD = "kernels/attention_speed:forward"
FOUR = ("naive", "memory_efficient", "sdpa", "numba_flash")
PLAIN = ("five_lines", "in_place", "compiled")
HALVES = (4096, 8192)


def test_naive_lies_far_above_and_the_fused_ones_lowest():
    table = claimed(
        FORWARD,
        "Naive lies far above the others, memory-efficient between, SDPA and "
        "numba flash lowest.",
    )
    for n in (1024, 2048, 4096, 8192):
        naive, chunks, sdpa, ours = (
            table("seconds", method=method, n=n, **RUN)
            for method in ("naive", "memory_efficient", "sdpa", "numba_flash")
        )
        assert naive > 2 * chunks > 2 * max(sdpa, ours)


def test_the_time_grows_with_the_square():
    table = claimed(
        FORWARD,
        "Everybody takes four times as long for twice the length",
        "Six lines that rise about fourfold per doubling.",
    )
    for method in (*FOUR, "compiled", "flex"):
        growth = table("seconds", method=method, n=8192, **RUN) / table(
            "seconds", method=method, n=1024, **RUN
        )
        assert growth ** (1 / 3) == pytest.approx(4, abs=1)


def test_naive_was_underestimated():
    table = claimed(
        FORWARD,
        "We had predicted 8 to 10 for the three together and underestimated "
        "the third",
    )
    assert table("per_sdpa", method="naive", n=8192, **RUN) > 10


def test_naive_waits_for_pages_and_sdpa_does_not():
    table = claimed(
        "kernels/attention_speed:memory",
        "Naive needs four times the memory for twice the length. So does the "
        "compiled formula",
        "went into the kernel",
    )
    row = {"run": "forward", **RUN}
    naive, sdpa = (
        {
            column: table(column, method=method, n=8192, **row)
            for column in ("bytes", "in_kernel")
        }
        for method in ("naive", "sdpa")
    )
    half = table("bytes", method="naive", n=4096, **row)
    assert naive["bytes"] / half == pytest.approx(4, abs=0.2)
    compiled = [table("bytes", method="compiled", n=n, **row) for n in HALVES]
    assert compiled[1] / compiled[0] == pytest.approx(4, abs=0.2)
    assert naive["in_kernel"] > 5 * sdpa["in_kernel"]


def test_this_machine_has_no_matrix_units_for_bfloat16():
    table = claimed(
        "kernels/attention_speed:machine",
        "The probe says which kind this machine is",
    )
    wide, half = (
        table("gflops", probe="matrix product", dtype=dtype)
        for dtype in ("float32", "bfloat16")
    )
    assert half < wide


def test_naive_stands_still_under_a_lower_roof_and_the_others_move():
    table = claimed(
        "kernels/attention_speed:forward_roofline",
        "Naive stands still at 8 flops per byte however long the sequence; "
        "the others move to the right",
    )
    naive = table.every("intensity", method="naive", **RUN)
    assert all(7 < x < 9 for x in naive)
    sdpa = table.every("intensity", method="sdpa", **RUN)
    assert sdpa == sorted(sdpa) and sdpa[-1] > 10 * sdpa[0]


def test_with_gradients_the_points_hardly_move_sideways():
    both = claimed(
        "kernels/attention_speed:forward_backward_roofline",
        "Three times the useful work on three times the traffic: the points "
        "hardly move sideways.",
    )
    once = claimed("kernels/attention_speed:forward_roofline")
    for method in ("sdpa", "numba_flash"):
        assert both.every("intensity", method=method, **RUN) == pytest.approx(
            once.every("intensity", method=method, **RUN), rel=0.1
        )


def test_a_training_step_keeps_the_order():
    table = claimed(
        "kernels/attention_speed:forward_backward",
        "The order and slopes are those of the forward pass.",
    )
    for n in (1024, 2048, 4096):
        naive, chunks, sdpa = (
            table("seconds", method=method, n=n, **RUN)
            for method in ("naive", "memory_efficient", "sdpa")
        )
        assert naive > chunks > sdpa


def test_short_texts_cost_guards_and_threads_and_not_the_formula():
    table = claimed(
        "kernels/attention_speed:short",
        "At 256 nobody among the first three is more than twice SDPA.",
        "at short lengths the formula costs little, and guards and threads "
        "cost most.",
    )
    row = {"run": "forward"}
    for n in (16, 256):
        for method in ("five_lines", "compiled", "flex"):
            assert table("per_sdpa", method=method, n=n, **row) < 2
    for method in ("naive", "numba_flash"):
        assert table("per_sdpa", method=method, n=16, **row) > 4


def test_the_plain_rivals_fall_behind_the_longer_the_text():
    table = claimed(
        FORWARD,
        "all three fall further behind the longer the text.",
        "FlexAttention, which skips the blocks of the future, stays at",
        "Ours and FlexAttention came as expected; all others came out slower.",
    )
    for method in PLAIN:
        ratios = table.every("per_sdpa", method=method, **RUN)
        assert ratios == sorted(ratios)
    assert table("per_sdpa", method="flex", n=8192, **RUN) < 2
    expected = {"memory_efficient": 2, "five_lines": 8, "in_place": 6}
    for method, most in (expected | {"compiled": 4}).items():
        assert table("per_sdpa", method=method, n=8192, **RUN) > most


def test_forward_and_step_tie_with_pytorch():
    step = claimed(
        "kernels/attention_speed:forward_backward",
        "a tie, as is the forward pass",
    )
    for table in (claimed(FORWARD), step):
        row = {"n": 8192, **RUN}
        ours, theirs = (
            (
                table("seconds", method=m, **row),
                table("spread", method=m, **row),
            )
            for m in ("numba_flash", "sdpa")
        )
        assert abs(ours[0] - theirs[0]) < max(ours[1], theirs[1])


def test_in_bfloat16_sdpas_step_is_slow_on_this_chip():
    table = claimed(
        "kernels/attention_speed:forward_backward",
        "In bfloat16 it is not: there SDPA's step takes",
    )
    row = {"method": "sdpa", "n": 8192}
    slow, quick = (
        table("seconds", dtype=dtype, **row)
        for dtype in ("bfloat16", "float32")
    )
    assert slow > 3 * quick


def test_one_query_is_answered_as_quickly_by_the_formula():
    table = claimed(
        "kernels/attention_speed:decode",
        "From 8,192 keys on the formula in five lines, in place or compiled, "
        "is level with SDPA, for one text and for eight; FlexAttention is "
        "somewhat quicker.",
        "naive takes far longer than three times.",
    )
    for batch in (1, 8):
        for cache in (8192, 32768):
            row = {"batch": batch, "cache": cache}
            for method in PLAIN:
                assert 0.9 < table("per_sdpa", method=method, **row) < 1.1
            assert 0.8 < table("per_sdpa", method="flex", **row) < 1
            assert table("per_sdpa", method="naive", **row) > 6
            assert 2.5 < table("per_sdpa", method="numba_flash", **row) < 6
