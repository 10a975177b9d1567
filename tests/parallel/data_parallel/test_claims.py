"""What the page concludes from what was measured."""

from tests.claims import claimed

DILOCO = "parallel/data_parallel:diloco"
BUCKETS = "parallel/data_parallel:buckets"
RING = "parallel/data_parallel:collectives"


def test_seldom_speaking_costs_a_little_here():
    table = claimed(
        DILOCO,
        "It ended .07 above, and with a round every 100 steps .13, for a "
        "twentieth and a hundredth of the traffic.",
    )
    often = table("loss", every=1)
    assert round(table("loss", every=20) - often, 2) == 0.07
    assert round(table("loss", every=100) - often, 2) == 0.13
    for every in (20, 100):
        assert table("sent", every=every) * every == table("sent", every=1)


def test_what_is_sent_does_not_depend_on_the_buckets():
    table = claimed(
        BUCKETS,
        "In one bucket nothing leaves before backward has ended.",
    )
    sent = {table("sent", size=s) for s in (1, 10_000, 30_000, 10**9)}
    assert len(sent) == 1
    assert table("early", size=10**9) == 0 < table("early", size=30_000)


def test_in_a_ring_nobody_sends_more_than_twice_the_tensor():
    table = claimed(
        RING,
        "In a ring it is never more than $2n$, be they two or a thousand.",
    )
    for ranks in (2, 4, 8):
        most = 2 * (ranks - 1) * 1_000_000 / ranks
        assert table("most", way="ring", ranks=ranks) == most
