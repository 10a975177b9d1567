"""What the commands for pictures claim, proved on a model of one grey."""

from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from llmnotes import __main__ as cli
from llmnotes import draw, presets, train
from llmnotes.task import Task
from llmnotes.train_config import TrainConfig
from tests import command_line


@dataclass(frozen=True)
class Shape:
    """How large the pictures are."""

    side: int = 3


SHAPE = Shape()


class Grey(nn.Module):
    """A model that knows one grey, and how many sides a picture has."""

    def __init__(self, side):
        super().__init__()
        self.side, self.grey = side, nn.Parameter(torch.tensor(0.0))


class Greys(Task):
    """The right grey is a half."""

    def batch(self, step):
        return torch.tensor(0.5)

    def loss(self, model, batch):
        return (model.grey - batch) ** 2

    def evaluate(self, model):
        return float(self.loss(model, torch.tensor(0.5)))


def check(caption):
    if caption not in ("light", "dark"):
        raise ValueError(f"caption: got {caption!r}, expected light or dark")


def picture(model, caption, *, scale, steps, generator):
    noise = torch.randn(3, model.side, model.side + 2, generator=generator)
    return model.grey.detach() * scale + noise / steps


STUDIO = SimpleNamespace(
    model=lambda shape, seed: Grey(**shape),
    learn=lambda model, config, **options: train.fit(
        model, Greys(), config, progress=False, **options
    ),
    check=check,
    draw=picture,
    verdict=lambda found, caption: f"{caption}, {found.shape[1]} rows",
)


@pytest.fixture(autouse=True)
def studio(monkeypatch, tmp_path):
    """A model of pictures called grey, with one preset."""
    training = TrainConfig(
        steps=40, learning_rate=0.2, warmup=0, eval_every=20
    )
    entry = presets.Pictures(
        "greys", f"{__name__}:STUDIO",
        {"tiny": presets.Preset(f"{__name__}:SHAPE", training)},
    )  # fmt: skip
    monkeypatch.setitem(presets.PICTURES, "grey", entry)
    known = {**cli.TRAINED, "grey": entry}
    monkeypatch.setattr(cli, "TRAINED", known)
    monkeypatch.setitem(cli.TRAIN["model"], "choices", known)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def llmnotes(capsys):
    """Run a command: exit status, lines on stdout, lines on stderr."""
    return partial(command_line.called, capsys)


def pixels(path):
    return np.asarray(Image.open(path))


def test_what_was_trained_draws_and_a_program_says_what_it_sees(llmnotes):
    status, out, _ = llmnotes("train grey --out run")
    assert status == 0
    assert out[-1].startswith("final loss 0.0")
    status, out, _ = llmnotes(
        "draw run light --steps 1000000 --scale 1 --out a.png --zoom 5"
    )
    assert (status, out) == (0, ["a.png: light, 3 rows"])
    assert pixels("a.png").shape == (15, 25, 3)
    assert abs(pixels("a.png").mean() / 255 - 0.5) < 0.05


def test_equal_seeds_draw_equal_pictures_and_others_do_not(llmnotes):
    llmnotes("train grey --out run --steps 2")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        llmnotes(f"draw run dark --seed {seed} --out {name}.png")
    a, b, c = map(pixels, ("a.png", "b.png", "c.png"))
    assert (a == b).all()
    assert (a != c).any()


def test_a_run_goes_on_where_it_was(llmnotes):
    llmnotes("train grey --out run --steps 20")
    status, out, _ = llmnotes("train grey --out run --resume --steps 40")
    assert status == 0
    assert out[-1].endswith("step-000040")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("draw run blue --out a.png",
         "caption: got 'blue', expected light or dark"),
        ("draw run dark --out a.jpg",
         "--out: got a.jpg, expected a file that ends in .png, .gif, .bmp"),
        ("draw run dark --out no/a.png",
         "--out: got no/a.png, whose folder does not exist"),
        ("draw nowhere dark --out a.png",
         "nowhere: got no checkpoint, expected a folder that llmnotes train "
         "wrote"),
        ("train grey --data my.txt --out new",
         "--data: got my.txt, expected nothing: grey brings its own pictures "
         "and batches"),
        ("train grey --batch-size 3 --out new",
         "--batch-size: got 3, expected nothing: grey brings its own "
         "pictures and batches"),
        ("train grey --preset huge --out new",
         "--preset: got 'huge', expected one of tiny"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(llmnotes, command, said):
    llmnotes("train grey --out run --steps 2")
    status, _, err = llmnotes(command)
    assert (status, err[-1]) == (2, f"llmnotes: {said}")


def test_a_run_of_another_shape_is_not_gone_on_with(llmnotes, monkeypatch):
    llmnotes("train grey --out run --steps 2")
    monkeypatch.setitem(globals(), "SHAPE", Shape(side=4))
    status, _, err = llmnotes("train grey --out run --steps 2 --resume")
    assert status == 2
    assert "shape: got {'side': 4}, expected {'side': 3}" in err[-1]


def test_a_run_that_writes_text_draws_nothing(llmnotes, monkeypatch):
    llmnotes("train grey --out run --steps 2")
    monkeypatch.delitem(presets.PICTURES, "grey")
    status, _, err = llmnotes("draw run dark --out a.png")
    assert status == 2
    assert "run: got a run of 'grey', expected one of" in err[-1]


def test_a_picture_of_one_channel_is_grey_and_stays_within_bounds(tmp_path):
    found = torch.tensor([[[-1.0, 0.0, 0.5], [1.0, 2.0, 0.25]]])
    draw.save(found, str(tmp_path / "a.png"), zoom=2)
    expected = np.array([[0, 0, 128], [255, 255, 64]], np.uint8)
    assert (pixels(tmp_path / "a.png")[::2, ::2] == expected).all()
