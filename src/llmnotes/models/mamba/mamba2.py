"""Mamba-2: heads whose states fade as one, so that products do the work.

    dt     = Δ, one for each head
    groups = heads that share B and C
    x, B and C pass the convolution together; Δ and the gate do not
    norm   = behind the gate, over each group's channels by itself

Names of attributes are those of Hugging Face's `Mamba2ForCausalLM`.

Sources
- Dao and Gu 2024, "Transformers are SSMs", arXiv 2405.21060, §7, figure 6.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from llmnotes.models.llama import RMSNorm
from llmnotes.models.mamba import ssd
from llmnotes.models.mamba.config import Mamba2Config
from llmnotes.models.mamba.model import (
    Mamba,
    Memory,
    convolve,
    new_steps,
    shown,
)
from llmnotes.precision import wide
from llmnotes.transformer.attention import merge_heads, split_heads


class GatedNorm(RMSNorm):
    """rms_norm(y ∘ silu(gate)), each group by itself."""

    def __init__(self, width: int, groups: int, eps: float):
        super().__init__(width, eps)
        self.groups = groups

    def forward(
        self,
        y: Float[Tensor, "... inner"],
        gate: Float[Tensor, "... inner"],
    ) -> Float[Tensor, "... inner"]:
        """The gate comes first: it has a say in the size."""
        row = wide(y) * F.silu(wide(gate))
        row = row.unflatten(-1, (self.groups, -1))
        size = (row.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return self.weight * (row * size).flatten(-2).to(y.dtype)


class Mixer2(nn.Module):
    """Convolution, chunked scan, gate and norm.

    Source: Dao & Gu 2024, figure 6, the parallel block.
    """

    def __init__(self, config: Mamba2Config, layer: int):
        super().__init__()
        self.config, self.layer = config, layer
        inner, heads, width = (
            config.inner,
            config.num_heads,
            config.hidden_size,
        )
        mixed = inner + 2 * config.n_groups * config.state_size
        taps = dict(groups=mixed, bias=config.use_conv_bias)
        self.conv1d = nn.Conv1d(mixed, mixed, config.conv_kernel, **taps)
        self.in_proj = nn.Linear(
            width, inner + mixed + heads, bias=config.use_bias
        )
        self.dt_bias = nn.Parameter(new_steps(config, heads))
        self.A_log = nn.Parameter(torch.arange(1.0, heads + 1).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = GatedNorm(
            inner, config.n_groups, config.layer_norm_epsilon
        )
        self.out_proj = nn.Linear(inner, width, bias=config.use_bias)
        with torch.no_grad():
            self.out_proj.weight /= math.sqrt(config.num_hidden_layers)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        mask: Bool[Tensor, "batch length"] | None = None,
        first: Bool[Tensor, "batch length"] | None = None,
        past: Memory | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Read tokens, behind those of a past."""
        window, state = past.of(self.layer) if past else (None, None)
        inner, heads = self.config.inner, self.config.num_heads
        parts = inner, self.conv1d.in_channels, heads
        gate, mixed, dt = self.in_proj(x).split(parts, dim=-1)
        mixed, window = convolve(
            shown(mixed, mask),
            self.conv1d.weight,
            self.conv1d.bias,
            window,
            first,
        )
        u, B, C = self.apart(shown(F.silu(mixed), mask))
        dt = F.softplus(dt + self.dt_bias).clamp(*self.config.time_step_limit)
        dt = dt.mT
        fade = -dt * self.A_log.exp()[:, None]
        if first is not None:
            fade = fade.masked_fill(first[:, None], -torch.inf)
        y, state = ssd.chunked(
            u * dt[..., None],
            fade,
            B,
            C,
            chunk=self.config.chunk_size,
            start=state,
        )
        if past:
            past.layers[self.layer] = window, state
        y = merge_heads(y + self.D[:, None, None] * u)
        return self.out_proj(self.norm(y, gate))

    def apart(
        self, mixed: Float[Tensor, "batch length mixed"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x, B and C by heads; a group's B and C for each of its heads."""
        config = self.config
        size = config.n_groups * config.state_size
        u, B, C = mixed.split((config.inner, size, size), dim=-1)
        share = config.num_heads // config.n_groups
        B, C = (
            split_heads(part, config.n_groups).repeat_interleave(share, dim=1)
            for part in (B, C)
        )
        return split_heads(u, config.num_heads), B, C


class Mamba2(Mamba):
    """A Mamba of the second kind of mixer. Arguments are those of `Mamba`."""

    mixer = Mixer2
