"""What a run looks like from outside: bar, lines and curve, proved."""

import io
import re
import sys
import time
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from llmnotes import progress, progress_bar
from llmnotes import train as loop
from llmnotes.train import train
from tests.tiny_run import CONFIG, go, same, texts, tiny


def test_a_falling_curve_falls_from_the_highest_bar_to_the_lowest():
    assert progress.sparkline([8.0, 7.0, 5.0, 1.0]) == "█▇▅▁"
    assert progress.sparkline([2.0]) == "▁"
    long = progress.sparkline([float(x) for x in range(1000)])
    assert len(long) == 32
    assert (long[0], long[-1]) == ("▁", "█")


def test_progress_tells_each_evaluation_in_a_line_on_stderr(capsys):
    history = train(tiny(), *texts(), CONFIG)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("step      3  loss ")
    assert f"validation {history[-1].validation_loss:.3f}" in lines[-1]
    go()
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_a_bar_shows_loss_speed_and_time_left(
    capsys, monkeypatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress.tqdm, "monitor_interval", 0)
    slow = loop.update

    def slower(*arguments):
        time.sleep(0.11)
        return slow(*arguments)

    monkeypatch.setattr(loop, "update", slower)
    train(tiny(), *texts(), CONFIG)
    err = capsys.readouterr().err
    last = err.splitlines()[-1].rpartition("\r")[2]
    assert re.fullmatch(
        r"loss \d\.\d{3} 100% \|█+\| 00:0\d<00:00 +[\d.]+ tokens/s *", last
    )


def test_lines_fit_into_a_narrow_terminal(capsys, monkeypatch):
    config = replace(CONFIG, steps=60, eval_every=1)
    for columns, longest in ((50, 50), (200, 80)):
        monkeypatch.setenv("COLUMNS", str(columns))
        train(tiny(), *texts(), config)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 60
        assert max(map(len, lines)) < longest
        assert len(lines[-1]) > 45


def test_a_picture_that_cannot_be_written_does_not_end_the_run(tmp_path):
    (tmp_path / "curve.svg").mkdir()
    with pytest.warns(UserWarning, match="curve.svg: not drawn"):
        drawn = go(tmp_path)
    assert same(drawn, go())


def test_the_run_folder_gets_a_picture_of_the_curve(tmp_path):
    _, history = go(tmp_path)
    root = ElementTree.parse(tmp_path / "curve.svg").getroot()
    name = "{http://www.w3.org/2000/svg}"
    curves = {
        line.get("class"): [
            tuple(map(float, point.split(",")))
            for point in line.get("points").split()
        ]
        for line in root.iter(f"{name}polyline")
    }
    losses = {
        "training": [row.loss for row in history],
        "validation": [row.validation_loss for row in history],
    }
    assert curves.keys() == losses.keys()
    heights = [down for points in curves.values() for _, down in points]
    values = [value for some in losses.values() for value in some]
    assert heights[values.index(min(values))] == max(heights)
    assert heights[values.index(max(values))] == min(heights)
    words = " ".join(text.text for text in root.iter(f"{name}text"))
    assert f"{min(values):.2f}" in words and f"{max(values):.2f}" in words


def test_without_a_stderr_nothing_is_shown_and_all_is_trained(
    capsys, monkeypatch
):
    monkeypatch.setattr(sys, "stderr", None)  # as under pythonw
    model = tiny()
    history = train(model, *texts(), CONFIG)
    monkeypatch.undo()
    assert same((model, history), go())
    assert capsys.readouterr() == ("", "")


def test_a_bar_without_a_stderr_counts_all_the_same(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert list(progress_bar.bar([3, 1, 2])) == [3, 1, 2]


class Gone(io.StringIO):
    """A terminal that goes away after `left` writes."""

    def __init__(self, left, error):
        super().__init__()
        self.left, self.error = left, error

    def isatty(self):
        return True

    def write(self, text):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize("left", [0, 1, 5, 20])
@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError(32, "Broken pipe"),
        OSError(5, "Input/output error"),
        ValueError("I/O operation on closed file."),
    ],
    ids=str,
)
def test_a_terminal_that_goes_away_does_not_end_the_run(
    monkeypatch, left, error
):
    monkeypatch.setattr(progress.tqdm, "monitor_interval", 0)
    monkeypatch.setattr(sys, "stderr", Gone(left, error))
    model = tiny()
    history = train(model, *texts(), CONFIG)
    monkeypatch.undo()
    assert same((model, history), go())


def test_a_stderr_that_was_closed_is_no_obstacle(monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    assert list(progress_bar.bar([3, 1, 2])) == [3, 1, 2]
    model = tiny()
    history = train(model, *texts(), CONFIG)
    monkeypatch.undo()
    assert same((model, history), go())


def test_a_stderr_without_isatty_gets_lines_and_no_bar(monkeypatch):
    class Log:
        def __init__(self):
            self.said = ""

        def write(self, text):
            self.said += text

        def flush(self):
            pass

    log = Log()
    monkeypatch.setattr(sys, "stderr", log)
    train(tiny(), *texts(), CONFIG)
    monkeypatch.undo()
    assert [line[:4] for line in log.said.splitlines()] == ["step"] * 3


def test_where_the_encoding_has_no_bars_the_curve_is_of_plain_signs(
    monkeypatch,
):
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", errors="strict")
    monkeypatch.setattr(sys, "stderr", stream)
    train(tiny(), *texts(), CONFIG)
    assert progress.sparkline([8.0, 7.0, 5.0, 1.0]) == "#%+_"
    monkeypatch.undo()
    stream.flush()
    assert stream.buffer.getvalue().decode("ascii").count("step") == 3
