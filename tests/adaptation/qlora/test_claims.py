"""What the page concludes from bases in few bits and from four merges."""

from tests.claims import claimed

BASES = "adaptation/qlora:bases"
MERGES = "adaptation/qlora:merges"


def test_beside_four_bits_the_adapter_ends_where_it_does_beside_32():
    table = claimed(
        BASES,
        "NF4 ends 0.003 nat better than float32, less than the seeds differ "
        "among themselves",
        "Beside four bits the adapter ends where it ends beside 32.",
    )
    full = table("new", base="float32")
    for base in ("NF4", "NF4, double"):
        assert 0.0025 < full - table("new", base=base) < 0.0035
        apart = table("highest", base=base) - table("lowest", base=base)
        assert apart > 0.0035


def test_two_bits_are_nearly_made_up_for_where_the_adapter_learns():
    table = claimed(
        BASES,
        "the adapter beside it still comes within 0.05 nat of the one beside "
        "float32 on Shakespeare",
        "On Python's reference, which all of them forget, two bits end at",
    )
    two, full = dict(base="int2"), dict(base="float32")
    assert table("before", **two) - table("before", **full) > 0.5
    assert 0.03 < table("new", **two) - table("new", **full) < 0.05
    assert table("old", **two) - table("old", **full) > 0.3


def test_into_what_the_adapter_saw_is_the_only_exact_merge():
    table = claimed(
        MERGES,
        "its loss is that of the unmerged model to seven digits",
        "The second adds the adapter to better weights and is worse all the "
        "same",
        "Rounding the merged weight again costs more than that by either way.",
        "the third way, which quantizes again what the adapter saw, was "
        "better here",
    )
    beside = table("new", way="not merged")
    assert abs(table("new", way="D(Q(W)) + Δ") - beside) < 1e-7
    original = table("new", way="W + Δ") - beside
    again = table("new", way="Q(D(Q(W)) + Δ)") - beside
    whole = table("new", way="Q(W + Δ)") - beside
    assert 0.004 < original < again < whole < 0.015
