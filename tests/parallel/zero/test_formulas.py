"""The paper's numbers, from its formulas."""

import pytest

from llmnotes.parallel.zero import FLOAT32, fitting, memory, traffic

GB = 1e9
# Table 1, GB a rank: {Ψ: {N: (P_os, P_os+g, P_os+g+p)}}, as printed.
TABLE_1 = {
    7.5e9: {
        1: (120, 120, 120), 4: (52.5, 41.3, 30), 16: (35.6, 21.6, 7.5),
        64: (31.4, 16.6, 1.88), 256: (30.4, 15.4, 0.47),
        1024: (30.1, 15.1, 0.12),
    },
    128e9: {
        1: (2048, 2048, 2048), 4: (896, 704, 512), 16: (608, 368, 128),
        64: (536, 284, 32), 256: (518, 263, 8), 1024: (513, 257, 2),
    },
    1e12: {
        1: (16000, 16000, 16000), 4: (7000, 5500, 4000),
        16: (4750, 2875, 1000), 64: (4187, 2218, 250),
        256: (4046, 2054, 62.5), 1024: (4011, 2013, 15.6),
    },
}  # fmt: skip


def last_digit(printed):
    """One unit of the last digit that is printed."""
    return 10.0 ** -len(str(printed).partition(".")[2])


def test_figure_1():
    """7.5 billion numbers on 64 ranks."""
    found = [memory(7_500_000_000, 64, stage) / GB for stage in range(4)]
    assert found == [120, 31.40625, 16.640625, 1.875]


@pytest.mark.parametrize("size", TABLE_1)
def test_table_1_all_cells(size):
    for ranks, row in TABLE_1[size].items():
        for stage, printed in enumerate(row, start=1):
            exact = memory(int(size), ranks, stage) / GB
            assert abs(exact - printed) < last_digit(printed)


def test_table_2():
    """Billions that fit into 32 GB on 64 ranks: 2, 7.6, 14.4, 128."""
    found = [fitting(32 * 10**9, 64, s) / GB for s in range(4)]
    assert found == pytest.approx([2, 7.6418, 14.4225, 128], rel=1e-5)


def test_traffic_by_hand():
    """4 ranks, 1,000 numbers: each reduce-scatter or all-gather sends 750."""
    assert [traffic(1000, 4, s) for s in range(4)] == [1500, 1500, 1500, 2250]
    assert [traffic(1000, 4, s, 3) for s in range(4)] == [
        1500, 1500, 3000, 6750,
    ]  # fmt: skip
    assert traffic(1000, 1, 3) == 0


def test_the_two_sixteens_differ_as_soon_as_something_is_cut():
    assert memory(100, 8, 0) == memory(100, 8, 0, **FLOAT32) == 1600
    assert memory(100, 8, 1) == 550
    assert memory(100, 8, 1, **FLOAT32) == 900


def test_others_count_other_bytes():
    """DeepSpeed's 4 + 16/N at stage 2, Megatron's 6 + 12/N at stage 1."""
    for ranks, deepspeed, megatron in (
        (1, 20, 18),
        (8, 6, 7.5),
        (64, 4.25, 6.1875),
    ):
        whole = dict(weights=2, gradients=2)
        found = memory(1, ranks, 1, **whole, states=16)
        assert found == deepspeed
        assert (
            memory(1, ranks, 1, weights=2, gradients=4, states=12) == megatron
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: memory(1, 1, 4), "stage: got 4, expected 0, 1, 2 or 3"),
        (lambda: memory(1, 0, 1), "ranks: got 0, expected at least 1"),
        (lambda: memory(-1, 1, 1), "parameters: got -1, expected a number"),
        (lambda: traffic(1, 1, 1, 0), "micro_batches: got 0, expected at"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
