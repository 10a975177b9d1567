"""What stopping and resuming claim, proved; crashes are real kills."""

import errno
import io
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import warnings
from dataclasses import replace

import pytest
import torch

from llmnotes import checkpoint, stopping
from llmnotes import run as runs
from llmnotes import train as loop
from llmnotes.train import train
from tests.tiny_run import CONFIG, LONG, go, same, texts, tiny


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_run_is_not_overwritten(tmp_path):
    go(tmp_path)
    with pytest.raises(ValueError, match="holds a run at step 9"):
        go(tmp_path)
    assert checkpoint.steps(tmp_path) == [6, 9]


@pytest.mark.parametrize(
    "change", [{"learning_rate": 0.02}, {"steps": 8}, {"seed": 1}], ids=str
)
def test_a_run_goes_on_only_as_it_began(tmp_path, change):
    go(tmp_path)
    model = tiny(seed=1)
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=f"^{next(iter(change))}: got"):
        go(
            tmp_path,
            model=model,
            config=replace(CONFIG, **change),
            resume=True,
        )
    assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize("changed", [0, 1])
def test_a_run_goes_on_only_with_its_own_text(tmp_path, changed):
    go(tmp_path)
    parts = [part.clone() for part in texts()]
    parts[changed][-1] += 1
    with pytest.raises(ValueError, match="^text: got"):
        train(tiny(), *parts, CONFIG, out=tmp_path, resume=True)


def test_another_number_of_threads_is_warned_about(tmp_path):
    go(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        go(tmp_path, resume=True)
    torch.set_num_threads(2)
    try:
        with pytest.warns(UserWarning, match="from 1 threads, this is 2"):
            go(tmp_path, resume=True)
    finally:
        torch.set_num_threads(1)


def test_weights_without_the_notes_of_a_run_are_refused(tmp_path):
    model = tiny()
    optimizer = loop.adamw(model, CONFIG)
    checkpoint.save(tmp_path, 3, model, optimizer)
    with pytest.raises(ValueError, match="without the notes of a run"):
        go(tmp_path, resume=True)


def test_what_the_caller_says_about_a_run_is_in_every_checkpoint(tmp_path):
    go(tmp_path, about={"name": "tiny"})
    assert checkpoint.read(tmp_path)["about"] == {"name": "tiny"}


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    with stopping.hold(tmp_path):
        for resume in (False, True):
            with pytest.raises(ValueError, match="where another run is wri"):
                go(tmp_path, resume=resume)
        go(tmp_path / "another")
    assert checkpoint.steps(tmp_path) == []
    go(tmp_path)


def test_a_disk_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def unknown(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(stopping.fcntl, "flock", unknown)
    assert same(go(tmp_path), go())
    monkeypatch.setattr(stopping, "fcntl", None)  # as on Windows
    assert same(go(tmp_path / "windows"), go())


def test_a_full_disk_ends_the_run_and_keeps_the_last_checkpoint(
    tmp_path, monkeypatch
):
    whole = go()
    fsync = os.fsync

    def full(handle):
        if (tmp_path / checkpoint.PART / "state.json").exists() and (
            checkpoint.steps(tmp_path)[-1:] == [3]
        ):
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RuntimeError, match="step 6 .*No space.*kept: 0, 3$"):
        go(tmp_path)
    monkeypatch.undo()
    assert same(go(tmp_path, model=tiny(seed=1), resume=True), whole)


def test_saving_changes_nothing(tmp_path):
    assert same(go(tmp_path), go())


def test_resuming_a_finished_run_tells_the_same(tmp_path):
    whole = go(tmp_path)
    assert same(go(tmp_path, model=tiny(seed=1), resume=True), whole)


@pytest.mark.parametrize("at", [1, 4, 6, 9])
def test_ctrl_c_saves_and_resuming_goes_on_to_the_same_bit(
    tmp_path, monkeypatch, at
):
    whole, update, handler = go(), loop.update, signal.getsignal(signal.SIGINT)

    def interrupted(*arguments):
        if arguments[-1] + 1 == at:  # in the middle of a step
            signal.raise_signal(signal.SIGINT)
        return update(*arguments)

    monkeypatch.setattr(loop, "update", interrupted)
    with pytest.raises(KeyboardInterrupt) as stop:
        go(tmp_path)
    assert f"stopped after step {at}, saved in {tmp_path}" in str(stop.value)
    assert "resume=True" in str(stop.value)
    assert signal.getsignal(signal.SIGINT) is handler
    assert checkpoint.steps(tmp_path)[-1] == at
    monkeypatch.undo()
    assert same(go(tmp_path, model=tiny(seed=1), resume=True), whole)


def test_a_second_ctrl_c_does_not_wait(tmp_path, monkeypatch):
    def stuck(*arguments):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("went on")

    monkeypatch.setattr(loop, "update", stuck)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path)
    assert checkpoint.steps(tmp_path) == [0]


def test_without_a_folder_ctrl_c_stops_at_once(monkeypatch):
    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("went on")

    monkeypatch.setattr(loop, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go()


def test_training_works_in_a_thread(tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(go(tmp_path)))
    thread.start()
    thread.join()
    assert same(results[0], go())


def longer(out, steps=15, **options):
    config = replace(CONFIG, steps=steps)
    return go(out, config, tiny(seed=1), resume=True, **options)


@pytest.mark.parametrize("at", [6, 9])
def test_a_run_is_made_longer_and_says_what_its_rate_does(tmp_path, at):
    go(tmp_path)
    if at == 6:  # stopped before its end
        shutil.rmtree(checkpoint.path(tmp_path, 9))
    rate = replace(CONFIG, steps=15).rate
    with pytest.warns(UserWarning, match=f"9 steps become 15; from step {at}"):
        _, history = longer(tmp_path)
    assert [row.step for row in history] == [3, 6, 9, 12, 15]
    # The rate is a function of the step, whatever came before.
    rates = [row.learning_rate for row in history]
    assert rates[: at // 3] == [CONFIG.rate(s) for s in (2, 5, 8)[: at // 3]]
    assert rates[at // 3 :] == [rate(s) for s in (2, 5, 8, 11, 14)[at // 3 :]]
    assert rates[-1] == pytest.approx(CONFIG.min_learning_rate)
    assert checkpoint.read(tmp_path)["longer"] == [[at, 9]]


@pytest.mark.filterwarnings("ignore:.*steps become")
def test_a_run_made_longer_resumes_to_the_same_bit_and_is_not_shortened(
    tmp_path,
):
    one, two = tmp_path / "one", tmp_path / "two"
    go(one)
    shutil.copytree(one, two)
    whole = longer(one)
    longer(two)
    shutil.rmtree(checkpoint.path(two, 15))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is longer already
        assert same(longer(two), whole)
    with pytest.raises(ValueError, match="^steps: got 9, expected 15 or more"):
        go(one, resume=True)
    longer(one, 16)
    said = checkpoint.read(one)
    assert said["longer"] == [[9, 9], [15, 15]]
    assert said["facts"]["steps"] == 16


@pytest.mark.parametrize("stderr", [None, io.StringIO()])
def test_a_warning_needs_no_stderr(tmp_path, monkeypatch, stderr):
    if stderr is not None:
        stderr.close()
    go(tmp_path)
    monkeypatch.setattr(sys, "stderr", stderr)
    shown = []

    def show(message, *place):
        shown.append(str(message))
        if sys.stderr is not None:
            sys.stderr.write(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        _, history = longer(tmp_path)
    assert history[-1].step == 15
    assert len(shown) == 1


def spoiled(folder, **changes):
    file = checkpoint.latest(folder) / "state.json"
    state = json.loads(file.read_text("utf-8"))
    state["notes"] |= changes
    file.write_text(json.dumps(state), "utf-8")


@pytest.mark.parametrize(
    "changes",
    [
        {"facts": None},
        {"facts": ["steps"]},
        {"history": [{"epoch": 1}]},
        {"history": None},
        {"losses": "none"},
        {"losses": [None]},
    ],
    ids=str,
)
def test_notes_that_are_no_runs_are_refused(tmp_path, changes):
    go(tmp_path)
    spoiled(tmp_path, **changes)
    with pytest.raises(ValueError, match="expected a folder that train wrot"):
        go(tmp_path, model=tiny(seed=1), resume=True)


def child(out, aim, ready):
    """Train in a process of its own, to be killed."""
    torch.set_num_threads(1)
    if aim is not None:
        AIMS[aim]()
    ready.set()
    go(
        out,
        model=tiny(seed=os.getpid()) if resumes(out) else tiny(),
        config=LONG,
        resume=True,
    )


def resumes(out):
    return bool(checkpoint.steps(out))


def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)


def before_the_first_checkpoint():
    checkpoint.save = die


def standing_still():
    loop.update = lambda *arguments: time.sleep(600)


def halfway_through_a_file():
    save_file = checkpoint.save_file

    def half(tensors, path, *rest):
        save_file(tensors, path, *rest)
        if "000010" not in str(path) and runs_at(path) >= 10:
            os.truncate(path, os.path.getsize(path) // 2)
            die()

    checkpoint.save_file = half


def runs_at(path):
    return max(
        checkpoint.steps(os.path.dirname(os.path.dirname(path))), default=0
    )


def between_the_files_and_the_name():
    rename = os.rename

    def late(source, target):
        if str(target).endswith("step-000015"):
            die()
        rename(source, target)

    os.rename = late


def just_after_an_evaluation():
    note = runs.Run.note

    def late(run, *arguments):
        note(run, *arguments)
        if run.step == 15:
            die()

    runs.Run.note = late


def halfway_through_clearing_up():
    rmtree = shutil.rmtree

    def half(folder, *rest, **options):
        if os.path.exists(os.path.join(folder, "state.json")):
            os.unlink(os.path.join(folder, "state.json"))
            die()
        rmtree(folder, *rest, **options)

    shutil.rmtree = half


AIMS = {
    f.__name__: f
    for f in (
        standing_still,
        before_the_first_checkpoint,
        halfway_through_a_file,
        between_the_files_and_the_name,
        just_after_an_evaluation,
        halfway_through_clearing_up,
    )
}


@pytest.fixture(scope="module")
def whole():
    return go(config=LONG)


def start(processes, out, aim=None):
    ready = processes.Event()
    process = processes.Process(target=child, args=(out, aim, ready))
    process.start()
    assert ready.wait(60)
    return process


def test_a_killed_run_no_longer_holds_its_folder(tmp_path, processes, whole):
    process = start(processes, tmp_path, "standing_still")
    try:
        while not checkpoint.steps(tmp_path):
            assert process.is_alive()
            time.sleep(0.01)
        with pytest.raises(ValueError, match="another run is writing"):
            go(tmp_path, LONG, resume=True)
    finally:
        process.kill()
        process.join()
    assert same(go(tmp_path, LONG, tiny(seed=1), resume=True), whole)


@pytest.mark.parametrize("aim", [aim for aim in AIMS if "still" not in aim])
def test_killed_at_an_aimed_point_the_run_goes_on_to_the_same_bit(
    tmp_path, processes, whole, aim
):
    process = start(processes, tmp_path, aim)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    held = checkpoint.steps(tmp_path)
    expected = {
        "before_the_first_checkpoint": [],
        "halfway_through_a_file": [5, 10],
        "between_the_files_and_the_name": [5, 10],
        "just_after_an_evaluation": [5, 10],
        "halfway_through_clearing_up": [5, 10],
    }
    assert held == expected[aim]
    model = tiny(seed=1) if held else tiny()
    assert same(go(tmp_path, LONG, model, resume=True), whole)


def wait_for_another_step(process, run):
    before = checkpoint.steps(run)
    while process.is_alive() and checkpoint.steps(run) == before:
        time.sleep(0.001)


def test_killed_at_20_random_points_the_run_goes_on_to_the_same_bit(
    tmp_path, processes, whole
):
    draw = random.Random(0)
    clock = time.perf_counter()
    start(processes, tmp_path / "timed").join(60)
    full = time.perf_counter() - clock
    run, kills, held = tmp_path / "0", 0, set()
    while kills < 20:
        process = start(processes, run)
        for _ in range(draw.randrange(3)):  # however slow the machine is
            wait_for_another_step(process, run)
        process.join(draw.uniform(0, full / 20))
        process.kill()
        process.join(60)
        kills += process.exitcode == -signal.SIGKILL
        held.add(max(checkpoint.steps(run), default=-1))
        if process.exitcode == 0:
            assert same(go(run, LONG, tiny(seed=1), resume=True), whole)
            run = tmp_path / str(kills)
    model = tiny(seed=1) if resumes(run) else tiny()
    assert same(go(run, LONG, model, resume=True), whole)
    assert len(held) > 5
