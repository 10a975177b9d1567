"""Sizes and intervals: by hand, as published, and simulated."""

import pytest
import torch

from llmnotes.parallel.checkpointing import (
    MIXED,
    SINGLE,
    Checkpoints,
    best_interval,
    checkpoint_bytes,
    lost_exactly,
    lost_share,
    mean_between,
    simulated,
    whole,
)
from tests.parallel.checkpointing import small


def test_a_trillion_parameters_take_14_terabytes_not_13_8():
    assert sum(MIXED.values()) == 14 and sum(SINGLE.values()) == 12
    ours = checkpoint_bytes(1.008e12, MIXED)
    assert ours == pytest.approx(14.112e12)
    assert 13.8e12 / 1.008e12 == pytest.approx(13.69, abs=0.005)


def test_our_own_checkpoint_weighs_12_bytes_a_parameter(tmp_path):
    training = small.fresh()
    small.step(training)
    home = Checkpoints(tmp_path).save(1, whole(training.tensors()))
    weights = list(training.model.parameters())
    count = sum(p.numel() for p in weights)
    steps = 4 * len(weights)  # Adam counts its steps for each tensor
    size = (home / "rank-0.bin").stat().st_size
    assert size == checkpoint_bytes(count, SINGLE) + steps


def test_llama_3_failed_every_three_hours():
    assert 466 - 47 == 419
    between = mean_between(54, 419)
    assert between / 3600 == pytest.approx(3.09, abs=0.005)
    assert best_interval(60, between) == pytest.approx(1156, abs=0.5)
    assert lost_share(1156, 60, between) == pytest.approx(0.104, abs=5e-4)
    assert best_interval(1, between) == pytest.approx(149, abs=0.5)
    assert lost_share(149, 1, between) == pytest.approx(0.0134, abs=5e-5)


def test_youngs_interval_is_the_best_of_his_formula():
    best = best_interval(60, 11_135)
    shares = {f: lost_share(f * best, 60, 11_135) for f in (0.8, 1, 1.25)}
    assert min(shares, key=shares.get) == 1
    assert shares[1] == pytest.approx((2 * 60 / 11_135) ** 0.5)


@pytest.mark.parametrize("interval", [300, 1156, 4000])
def test_a_simulated_run_loses_what_the_exact_formula_says(interval):
    found = [simulated(interval, 60, 11_135, 4000, s) for s in range(3)]
    exact = lost_exactly(interval, 60, 11_135)
    assert min(found) - 0.01 < exact < max(found) + 0.01


def test_without_failures_only_saving_costs():
    share = lost_exactly(540, 60, 1e12)
    assert share == pytest.approx(0.1)
    assert simulated(540, 60, 1e12, 10, 0) == pytest.approx(0.1)


@pytest.mark.parametrize("bad", [(0, 9), (-1, 9), (9, 0), (9, float("inf"))])
def test_times_must_be_above_zero(bad):
    with pytest.raises(ValueError, match="got .*, expected above 0"):
        best_interval(*bad)


def test_a_slice_drags_its_whole_storage_into_a_file(tmp_path):
    """torch.save's trap; ours writes the numbers of the part."""
    row = torch.zeros(1000, 1000)[0]
    for name, x in (("slice", row), ("copy", row.clone())):
        torch.save(x, tmp_path / name)
    sizes = [(tmp_path / n).stat().st_size for n in ("slice", "copy")]
    assert sizes[0] > 4_000_000 and sizes[1] < 6_000
    home = Checkpoints(tmp_path).save(1, whole({"w": row}))
    assert (home / "rank-0.bin").stat().st_size == 4000
