"""What makes two runs differ, each alone; and sums that do not."""

import pytest
import torch

from llmnotes.parallel.checkpointing import (
    around_a_ring,
    largest_error,
    one_after_another,
    pairwise,
)
from llmnotes.parallel.data_parallel import run
from tests.parallel.checkpointing import causes, ranked

SUMS = one_after_another, pairwise, around_a_ring


@pytest.fixture(autouse=True)
def as_it_was():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 16])
@pytest.mark.parametrize("way", SUMS, ids=lambda f: f.__name__)
def test_every_order_sums_all_rows(way, count):
    rows = torch.randn(count, 23, dtype=torch.float64)
    assert torch.allclose(way(rows), rows.sum(0), rtol=1e-12, atol=1e-12)


def test_by_hand_two_orders_of_three_numbers():
    x = torch.tensor([[1e8], [1.0], [-1e8]])
    assert one_after_another(x).item() == 0
    assert one_after_another(x[[0, 2, 1]]).item() == 1
    # 1e8 + 1 lies between two float32: the bound allows the loss
    assert largest_error(x).item() == pytest.approx(2 * 2**-24 * (2e8 + 1))


def test_orders_differ_within_the_bound():
    rows = torch.randn(8, 3000, generator=torch.Generator().manual_seed(0))
    exact = rows.double().sum(0)
    found = [way(rows) for way in SUMS]
    for x in found:
        assert ((x - exact).abs() <= largest_error(rows)).all()
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(found[a], found[b])


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_the_rings_order_is_that_of_real_ranks(processes, ranks):
    found = run(ranked.ring_and_gloo, ranks, processes=processes)
    for ours, theirs in found:
        assert ours == theirs


def test_ranks_with_other_numbers_of_pieces_are_told_so(processes):
    count = len(ranked.rows_of_ranks())
    ranks = next(r for r in (2, 3, 4, 5) if count % r)
    for told in run(ranked.unequal_pieces, ranks, processes=processes):
        assert told.startswith("ValueError: own: got [")
        assert told.endswith("pieces on the ranks, expected as many on each")


def test_in_one_order_the_sum_is_the_same_on_any_number_of_ranks(processes):
    found = {
        tuple(row) for ranks in (1, 2, 3, 4)
        for row in run(ranked.in_order, ranks, processes=processes)
    }  # fmt: skip
    assert len(found) == 1
    other = {
        tuple(row)
        for ranks in (1, 2, 3)
        for row in run(ranked.all_reduced, ranks, processes=processes)
    }
    assert len(other) > 1


@pytest.mark.parametrize("deterministic", [False, True])
def test_threads_and_batches_change_bits_whatever_is_switched_on(
    deterministic,
):
    torch.use_deterministic_algorithms(deterministic)
    one, two, again = (causes.sum_with(n) for n in (1, 2, 2))
    assert one != two == again
    alone, among = causes.row_alone(), causes.row_among_others()
    assert not torch.equal(alone, among)
    assert torch.allclose(alone, among, atol=1e-3)
    assert torch.equal(alone, causes.row_alone())


def test_deterministic_algorithms_make_one_of_many_sums():
    torch.use_deterministic_algorithms(True)
    assert len({causes.atomic_sum() for _ in range(8)}) == 1


def test_without_them_two_threads_add_in_any_order():
    assert any(causes.atomic_sum() != causes.atomic_sum()
               for _ in range(200))  # fmt: skip


def test_what_has_no_deterministic_kernel_is_refused():
    torch.use_deterministic_algorithms(True)
    with pytest.raises(RuntimeError, match="^put_ does not have a determ"):
        torch.zeros(4).put_(torch.tensor([0]), torch.ones(1))
    assert torch.empty(3).isnan().all()  # and new memory is filled


def test_a_shuffle_is_another_one_only_with_another_seed():
    assert causes.order(0) == causes.order(0) != causes.order(1)
    assert causes.order(None) != causes.order(None)
