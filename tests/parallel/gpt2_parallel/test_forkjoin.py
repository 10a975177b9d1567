"""The fork-join kernels: against NumPy, and against themselves.

Mistakes that were planted, all found by as_exact_as_numpy: dout or (1 - s)
left out of `gelu_backward`, the mean or `along` left out of `norm_input`, no
scale on the gradients of scores, a repeated token counted once, -1 in the
column before the token's, weight decay of the wrong sign.
"""

import _thread
import threading
import time

import numpy as np
import pytest

from llmnotes.parallel.gpt2_parallel import (
    ForkJoin,
    Team,
    dynamic,
    in_blocks,
    in_turns,
)
from llmnotes.parallel.gpt2_parallel.first import (
    SETS,
    FirstWrites,
    first_writes,
)
from llmnotes.transformer.gpt import GPTConfig
from llmnotes.transformer.gpt2_by_hand import (
    GPT2,
    At,
    backward,
    from_gpt,
    reference,
)
from tests.parallel.gpt2_parallel.kernel_calls import (
    SHAPES,
    arguments,
    called,
)
from tests.transformer.gpt2_by_hand import tiny

CONFIG = GPTConfig(133, 75, n_embd=36, n_layer=2, n_head=3)
every_kernel = pytest.mark.parametrize("name", SHAPES)


@pytest.fixture(scope="module")
def kernels():
    both = {threads: ForkJoin(threads) for threads in (1, 2, 3)}
    yield both
    for one in both.values():
        one.close()


@every_kernel
def test_a_kernel_is_as_exact_as_numpy(name, kernels):
    exact = called(reference, name, np.float64)
    plain, ours = called(reference, name), called(kernels[2], name)
    for i, (x, y, z) in enumerate(zip(exact, plain, ours, strict=True)):
        allowed = 2 * np.abs(x - y).max() + 3e-7 * np.abs(x).max()
        assert np.abs(x - z).max() <= allowed, i


@every_kernel
def test_the_number_of_threads_does_not_change_a_bit(name, kernels):
    one = called(kernels[1], name)
    for threads in (2, 3):
        for x, y in zip(one, called(kernels[threads], name), strict=True):
            assert np.array_equal(x, y), threads


@pytest.mark.parametrize("schedule", [in_blocks, in_turns])
def test_no_schedule_changes_a_bit(schedule, kernels):
    ours = ForkJoin(2)
    ours.team.schedule = schedule
    for name in ("attention_forward", "matmul_backward"):
        pairs = zip(called(kernels[1], name), called(ours, name), strict=True)
        assert all(np.array_equal(x, y) for x, y in pairs)
    ours.close()


@pytest.mark.parametrize("schedule", [dynamic, in_blocks, in_turns])
@pytest.mark.parametrize("items, threads", [(0, 2), (1, 3), (7, 2), (9, 3)])
def test_each_item_belongs_to_one_thread(schedule, items, threads):
    shares, found = schedule(items, threads), []
    for queue, step, end in dict((id(s), s) for s in shares).values():
        found += range(queue[0], end, step)
    assert sorted(found) == list(range(items))


@pytest.mark.parametrize("name", sorted(SETS))
def test_what_sets_is_what_adds_to_zeros(name, kernels):
    """NaN in its outputs, too: nothing of what was there is read."""
    count = {"matmul_backward": 3, "residual_backward": 2}.get(name, 1)
    adding, setting = arguments(name), arguments(name)
    for i in range(count):
        adding[i][:], setting[i][:] = 0, np.nan
    getattr(kernels[2], name)(*adding)
    getattr(kernels[2], f"{name}_first")(*setting)
    for x, y in zip(adding[:count], setting[:count], strict=True):
        assert np.array_equal(x, y)


@pytest.fixture(scope="module")
def model():
    return tiny.scattered(CONFIG)


def steps(model, kind, kernels, dtype=np.float32, count=2):
    weights = from_gpt(model, 135, dtype)
    ours = kind(CONFIG, weights, kernels)
    for i in range(count):
        ours.step(*tiny.ids(CONFIG, 3, 71, i), lr=1e-3, weight_decay=0.1)
    return ours


def arenas(ours):
    names = "acts", "dacts", "grads", "weights", "m", "v"
    return {name: getattr(ours, name) for name in names}


def test_a_whole_step_is_numpys_tensor_by_tensor(model, kernels):
    exact = arenas(steps(model, GPT2, reference, np.float64, 1))
    plain = arenas(steps(model, GPT2, reference, count=1))
    ours = arenas(steps(model, GPT2, kernels[2], count=1))
    del exact["weights"], exact["m"], exact["v"]  # moved by lr, whatever g
    for arena, tensors in exact.items():
        for name, x in tensors.items():
            off = np.abs(x - plain[arena][name]).max()
            allowed = 4 * off + 1e-6 * np.abs(x).max() + 1e-9
            found = np.abs(x - ours[arena][name]).max()
            assert found <= allowed, (arena, name)


def test_first_writes_have_the_bits_of_sums_on_zeros(model, kernels):
    added = arenas(steps(model, GPT2, kernels[2]))
    written = arenas(steps(model, FirstWrites, kernels[1]))
    for arena, tensors in added.items():
        for name, x in tensors.items():
            assert np.array_equal(x, written[arena][name]), (arena, name)


def test_first_writes_zero_little():
    calls, zeros = first_writes(backward(12))
    named = {place.name for place in zeros}
    assert not named & {"dqkvw", "dfcw", "dwte", "dlogits", "dfch"}
    assert At("dwpe") in zeros and At("dresidual3", 11) in zeros
    assert sum(call.name.endswith("_first") for call in calls) == 86


def test_nan_is_not_lost_on_the_way_to_the_loss(model, kernels):
    weights = from_gpt(model, 135, np.float32)
    weights["fcw"][1, 5, 7] = np.nan
    ours = GPT2(CONFIG, weights, kernels[2])
    ours.forward(*tiny.ids(CONFIG, 3, 71))
    assert np.isnan(ours.loss)
    with pytest.raises(RuntimeError, match="loss: got nan"):
        ours.zero_grad()
        ours.update()


def test_a_thread_raises_what_its_worker_raised():
    def worker(queue, step, end, scratch):
        if threading.current_thread() is not threading.main_thread():
            raise OSError("from afar")

    with Team(2) as team:
        for _ in range(2):  # the thread lives on
            with pytest.raises(OSError, match="from afar"):
                team.run(worker, 4)


def test_an_interrupt_waits_for_the_share_of_every_thread():
    done = []

    def worker(queue, step, end, scratch):
        if end < 0:
            return
        if threading.current_thread() is threading.main_thread():
            _thread.interrupt_main()
        else:
            time.sleep(0.2)
            done.append("share")

    with Team(2) as team:
        with pytest.raises(KeyboardInterrupt):
            team.run(worker, 4)
        assert done == ["share"]


def test_a_team_that_is_closed_takes_no_work():
    team = Team(2)
    team.close()
    with pytest.raises(RuntimeError, match="^team: got work, expected none"):
        team.run(lambda *args: None, 4)


def test_a_team_that_is_closed_leaves_no_threads():
    team = Team(3)
    helpers = [other.thread for other in team.others]
    assert len(helpers) == 2 and all(x.is_alive() for x in helpers)
    team.close()
    for thread in helpers:
        thread.join(5)
    assert not any(x.is_alive() for x in helpers)


BAD = {
    "float64": ("gelu_forward", 1, lambda x: x.astype(np.float64),
                "inp: got float64, expected float32"),
    "gaps": ("gelu_forward", 1, lambda x: x.repeat(2, -1)[..., ::2],
             "inp: got float32 with gaps, expected float32 without gaps"),
    "shape": ("matmul_forward", 2, lambda x: x[:, :-1].copy(),
              r"weight: got shape \(101, 35\), expected \(o=101, c=36\)"),
    "bias": ("matmul_backward", 2, lambda x: x[:-1].copy(),
             r"dbias: got shape \(100,\), expected \(o=101\)"),
    "token": ("encoder_forward", 1, lambda x: x + np.int32(133),
              "inp: got 1.., expected 0 to 134"),
    "long": ("encoder_forward", 3, lambda x: x[:70].copy(),
             "inp: got length 71, expected at most 70"),
    "heads": ("attention_forward", 3, lambda x: x[..., :-1].copy(),
              "inp: got 107 columns for 36 and 3 heads"),
    "target": ("crossentropy_softmax_backward", 3, lambda x: x * 0 + 134,
               "targets: got 134, expected 0 to 132"),
    "V": ("softmax_forward", 2, lambda x: 136,
          "V: got 136, expected 1 to 135 columns"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    case, kernels
):
    name, which, spoil, message = BAD[case]
    given = arguments(name)
    given[which] = spoil(given[which])
    before = [np.copy(x) for x in given]
    with pytest.raises(ValueError, match=message):
        getattr(kernels[2], name)(*given)
    for x, y in zip(before, given, strict=True):
        assert np.array_equal(x, y)


def test_no_threads_are_refused():
    with pytest.raises(ValueError, match="threads: got 0"):
        Team(0)
