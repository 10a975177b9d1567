"""Numbers by hand, and FLOPs of tasks that add up to those of the step."""

import pytest

from llmnotes.parallel.gpt2_parallel import Cutter, metrics
from llmnotes.transformer.gpt import GPT_2_SMALL, GPTConfig
from llmnotes.transformer.gpt2_by_hand import (
    activation_shapes,
    parameter_shapes,
)


def test_a_forward_by_hand():
    tiny = GPTConfig(5, n_positions=3, n_embd=2, n_layer=1, n_head=1)
    # Per token 12·2² + 5·2 multiply-adds; 3 tokens see 1 + 2 + 3 pairs.
    assert metrics.forward_flops(tiny, 1, 3) == 2 * 3 * 58 + 4 * 2 * 6
    assert metrics.step_flops(tiny, 1, 3) == 3 * 396


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_the_tasks_of_a_step_have_its_flops(blocks):
    shape = GPTConfig(4001, n_positions=9, n_embd=6, n_layer=3, n_head=2)
    weights, acts = parameter_shapes(shape), activation_shapes(shape, 5, 7)
    tasks = Cutter(weights, acts, blocks).step(shape.n_layer)
    total = sum(metrics.task_flops(t, weights | acts) for t in tasks)
    assert total == metrics.step_flops(shape, 5, 7)


def test_six_times_parameters_is_within_a_hundredth_for_gpt_2():
    exact = metrics.step_flops(GPT_2_SMALL, 4, 64)
    assert exact == pytest.approx(6 * 124_439_808 * 256, rel=0.01)


def test_amdahl_and_back():
    assert metrics.amdahl(0.1, 2) == pytest.approx(1.818, abs=1e-3)
    assert metrics.amdahl(0.1, 10**9) == pytest.approx(10)
    assert metrics.serial_share(metrics.amdahl(0.3, 7), 7) == pytest.approx(
        0.3
    )


def test_efficiencies_by_hand():
    assert metrics.strong(8.0, 5.0, 2) == 0.8
    assert metrics.weak(8.0, 10.0) == 0.8
    assert metrics.update_bytes(124_439_808) == 28 * 124_439_808
