"""`llmnotes train` of a model of pictures, and `llmnotes draw`.

studio  = the module that knows a model: what it learns, how it draws, and
          how a program tells whether the picture is right
about   = the model's name and its shape; every checkpoint holds them, so
          that `draw` needs the folder only
zoom    = pixels of the file for one of the picture
"""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol, runtime_checkable

import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from llmnotes import checkpoint, presets
from llmnotes.train_config import TrainConfig

KINDS = ".png", ".gif", ".bmp"  # those that keep every pixel


@runtime_checkable
class Studio(Protocol):
    """What a module must have for its model to be trained and drawn from."""

    def model(self, shape: Mapping[str, Any], seed: int) -> nn.Module:
        """The untrained model of a shape."""
        ...

    def learn(self, model: nn.Module, config: TrainConfig, **options) -> Any:
        """Train in place and return the history; see `train.fit`."""
        ...

    def check(self, caption: str) -> None:
        """Raise `ValueError` for what cannot be asked for."""
        ...

    def draw(
        self, model: nn.Module, caption: str, *, scale: float, steps: int,
        generator: torch.Generator,
    ) -> Float[Tensor, "channels rows columns"]:  # fmt: skip
        """One picture, from 0 to 1, of one channel or three."""
        ...

    def verdict(self, picture: Tensor, caption: str) -> str:
        """What the checker says of it."""
        ...


def train_model(options: argparse.Namespace, config: TrainConfig) -> None:
    """`llmnotes train` of a model of pictures."""
    torch.set_num_threads(options.threads)
    entry = presets.PICTURES[options.model]
    studio = resolve_name(entry.studio)
    shape = asdict(resolve_name(entry.preset(options.preset).shape))
    about = {"model": options.model, "shape": shape}
    if options.resume and checkpoint.steps(options.out):
        check_same(options.out, about)
    history = studio.learn(
        studio.model(shape, config.seed), config,
        out=options.out, resume=options.resume, about=about,
    )  # fmt: skip
    print(
        f"final loss {history[-1].validation_loss:.4f}, checkpoint "
        f"{checkpoint.latest(options.out)}"
    )


def check_same(folder: str, about: dict) -> None:
    """Raise `ValueError` if a folder's run has another model or shape."""
    was = checkpoint.read(folder).get("about") or {}
    for what in ("model", "shape"):
        if was.get(what) != about[what]:
            raise ValueError(
                f"{what}: got {about[what]!r}, expected {was.get(what)!r}, "
                f"with which the run in {folder} began; give that, or another "
                "folder"
            )


def draw(options: argparse.Namespace) -> None:
    """`llmnotes draw`: one picture, and what a program says of it."""
    check_out(options.out)  # before all work, not after
    model, studio = recall(options.run)
    studio.check(options.caption)
    torch.set_num_threads(1)  # equal seeds, equal pictures
    picture = studio.draw(
        model, options.caption, scale=options.scale, steps=options.steps,
        generator=torch.Generator().manual_seed(options.seed),
    )  # fmt: skip
    save(picture, options.out, options.zoom)
    print(f"{options.out}: {studio.verdict(picture, options.caption)}")


def recall(folder: str) -> tuple[nn.Module, Studio]:
    """The trained model in a folder, and what knows how to ask it.

    Raises `ValueError` for a folder without a model of pictures.
    """
    about = checkpoint.read(folder).get("about")
    name = about.get("model") if isinstance(about, dict) else None
    if name not in presets.PICTURES:
        raise ValueError(
            f"{folder}: got a run of {name!r}, expected one of "
            f"{', '.join(presets.PICTURES)}"
        )
    studio = resolve_name(presets.PICTURES[name].studio)
    model = studio.model(about["shape"], 0)
    checkpoint.load(folder, model)
    return model.eval(), studio


def save(
    picture: Float[Tensor, "channels rows columns"], path: str, zoom: int
) -> None:
    """Write a picture to a file, every pixel a square of `zoom`."""
    check_out(path)
    bytes = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
    rows = bytes.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
    grid = rearrange(rows, "channels rows columns -> rows columns channels")
    Image.fromarray(grid.squeeze(2).numpy()).save(path)


def check_out(path: str) -> None:
    """Raise `ValueError` unless a picture can be kept there."""
    if Path(path).suffix.lower() not in KINDS:
        raise ValueError(
            f"--out: got {path}, expected a file that ends in "
            f"{', '.join(KINDS)}"
        )
    if not Path(path).resolve().parent.is_dir():
        raise ValueError(f"--out: got {path}, whose folder does not exist")
