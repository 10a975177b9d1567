"""What the page concludes from the race of four attentions."""

import pytest

from tests.claims import claimed

RUN = {"dtype": "float32"}
FORWARD = "kernels/attention_speed:forward"


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
        "Four lines that rise about fourfold per doubling.",
    )
    for method in ("naive", "memory_efficient", "sdpa", "numba_flash"):
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
        "Naive needs four times the memory for twice the length.",
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
