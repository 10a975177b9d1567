"""Blocks of S4D around a residual stream, and a model of them.

    block  x + GLU(GELU(S4D(norm(x)))): channels meet in the GLU only, since
           each state space reads one channel
    states = one state for each block: what `step` carries on, whatever the
             length of what was read

Sources
- Gu et al. 2022, S4D, arXiv 2206.11893, §5 and appendix B.
- Dauphin et al. 2016, "Language Modeling with Gated Convolutional
  Networks", arXiv 1612.08083 (the gated linear unit).
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.checks import check_sizes, checked
from llmnotes.models.s4.layer import S4D, STEPS
from llmnotes.precision import autocasts

States = list[Tensor]  # (batch, d_model, modes) of each block


@dataclass(frozen=True)
class S4Config:
    """The shape of a model: `input` numbers a place in, `output` out.

    Raises `ValueError` for a count below 1.
    """

    input: int
    output: int
    d_model: int = 64
    state: int = 64
    n_layer: int = 2
    steps: tuple[float, float] = STEPS

    def __post_init__(self):
        for name in ("input", "output", "d_model", "state", "n_layer"):
            check_sizes(**{name: getattr(self, name)})


class Block(nn.Module):
    """Normalise, remember, mix channels, add to the stream."""

    def __init__(self, config: S4Config):
        super().__init__()
        width = config.d_model
        self.norm = nn.LayerNorm(width)
        self.s4d = S4D(width, config.state, steps=config.steps)
        self.mix = nn.Linear(width, 2 * width)

    def forward(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> Float[Tensor, "batch length d_model"]:
        """Read whole sequences."""
        return x + self.mixed(self.s4d(self.norm(x)))

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """One place (batch, d_model), and the state behind it."""
        y, h = self.s4d.step(self.norm(x), h)
        return x + self.mixed(y), h

    def mixed(self, y: Tensor) -> Tensor:
        """Let channels meet, behind a gate."""
        return F.glu(self.mix(F.gelu(y)), dim=-1)


class S4(nn.Module):
    """In, blocks, a norm, out: an answer at every place.

    Whoever wants one answer for a whole sequence takes the last, or a mean.
    """

    def __init__(self, config: S4Config):
        super().__init__()
        self.config = config
        self.embed = nn.Linear(config.input, config.d_model)
        self.blocks = nn.ModuleList(
            Block(config) for _ in range(config.n_layer)
        )
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.output)

    @checked
    def forward(
        self, x: Float[Tensor, "batch length input"]
    ) -> Float[Tensor, "batch length output"]:
        """Read whole sequences.

        Raises `ValueError` if x has another width or dtype than the model.
        """
        self.check_input(x)
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def start(self, batch: int) -> States:
        """The states of so many sequences that have not begun."""
        return [block.s4d.start(batch) for block in self.blocks]

    def check_input(self, x: Tensor) -> None:
        """Raise `ValueError` unless `embed` can read x."""
        expected = self.embed.weight
        if x.shape[-1] != expected.shape[1]:
            raise ValueError(
                f"x: got width {x.shape[-1]}, expected {expected.shape[1]}"
            )
        if x.dtype != expected.dtype and not autocasts(x):
            raise ValueError(f"x: got {x.dtype}, expected {expected.dtype}")

    @checked
    def step(
        self, x: Float[Tensor, "batch input"], states: States
    ) -> tuple[Float[Tensor, "batch output"], States]:
        """One place further: the answer there, and the states behind it.

        Raises `ValueError` for an x or states that are not this model's.
        """
        self.check_input(x)
        if len(states) != len(self.blocks):
            raise ValueError(
                f"states: got {len(states)}, expected one for each of "
                f"{len(self.blocks)} blocks"
            )
        x, after = self.embed(x), []
        for block, h in zip(self.blocks, states, strict=True):
            x, h = block.step(x, h)
            after.append(h)
        return self.head(self.norm(x)), after


def without_decay(
    model: nn.Module, weight_decay: float
) -> list[dict[str, object]]:
    """Parameter groups for AdamW: the state spaces are not decayed.

    Decay pulls ln Δ and ln(-Re a) towards 0, so every Δ towards 1 and every
    memory towards a step or two; that is no regularisation.
    """
    inside = {
        id(p)
        for layer in model.modules()
        if isinstance(layer, S4D)
        for p in layer.parameters()
    }
    others = [p for p in model.parameters() if id(p) not in inside]
    spaces = [p for p in model.parameters() if id(p) in inside]
    return [
        {"params": others, "weight_decay": weight_decay},
        {"params": spaces, "weight_decay": 0.0},
    ]
