"""Mamba: one kind of block, and a state instead of a past.

    u       = the token's channels between the two products, `inner` of them
    gate    = z, which opens or shuts what the scan says
    window  = the last conv_kernel - 1 inputs of the convolution
    state   = h of the scan, (batch, inner, state)
    past    = `Memory`: window and state of every layer
    mask    = tokens that are no padding, of the past and the new ones
    first   = new tokens with which a text begins

Names of attributes are those of Hugging Face's `MambaForCausalLM`.

Sources
- Gu and Dao 2023, "Mamba", arXiv 2312.00752, §3.4, figure 3, algorithm 2;
  §3.6 and appendix E.3 for how weights start.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_within, checked
from llmnotes.models.llama import RMSNorm
from llmnotes.models.llama.model import check_total
from llmnotes.models.mamba import fast, scan
from llmnotes.models.mamba.config import AnyMambaConfig, MambaConfig


class Memory:
    """What a model keeps of the tokens it has read: of one size for ever.

    `layers[n]` is the window and the state of layer n.
    """

    def __init__(self):
        self.length, self.layers = 0, {}

    def of(self, layer: int) -> tuple[Tensor | None, Tensor | None]:
        """Window and state of a layer; None before the first token."""
        return self.layers.get(layer, (None, None))

    def check_texts(self, texts: int) -> None:
        """Raise `ValueError` unless it has read as many texts."""
        kept = {len(x) for pair in self.layers.values() for x in pair}
        if not kept <= {texts}:
            raise ValueError(f"past: got {max(kept)} texts, expected {texts}")

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return sum(x.nbytes for kept in self.layers.values() for x in kept)


def convolve(
    u: Float[Tensor, "batch length width"],
    weight: Float[Tensor, "width 1 taps"],
    bias: Float[Tensor, "width"] | None,
    window: Float[Tensor, "batch before width"] | None = None,
    first: Bool[Tensor, "batch length"] | None = None,
) -> tuple[
    Float[Tensor, "batch length width"], Float[Tensor, "batch before width"]
]:
    """Weigh each channel's last tokens; return that and the new window.

    The last tap is the token's own. What stands in another text weighs 0.
    """
    length, back = u.shape[1], weight.shape[-1] - 1
    if window is None:
        window = u.new_zeros(u.shape[0], back, u.shape[2])
    u = torch.cat([window, u], dim=1)
    out = u.new_zeros(()) if bias is None else bias
    if first is not None:  # which text each token is of, counted
        text = F.pad(first.long().cumsum(1), (back, 0))
    for tap in range(back + 1):
        seen = u[:, tap : tap + length]
        if first is not None:
            other = text[:, tap : tap + length] != text[:, back:]
            seen = seen.masked_fill(other[..., None], 0)
        out = out + weight[:, 0, tap] * seen
    return out, u[:, u.shape[1] - back :]


def new_steps(config: AnyMambaConfig, width: int) -> Float[Tensor, "width"]:
    """A bias for each channel behind which softplus is a drawn Δ."""
    low, high = math.log(config.time_step_min), math.log(config.time_step_max)
    delta = torch.empty(width).uniform_(low, high).exp()
    delta = delta.clamp(min=config.time_step_floor)
    return delta + torch.log(-torch.expm1(-delta))


class Mixer(nn.Module):
    """Convolution, selective scan and gate: what mixes the tokens.

    Source: Gu & Dao 2023, figure 3 and algorithm 2.
    """

    scan = staticmethod(scan.selective_scan)

    def __init__(self, config: MambaConfig, layer: int):
        super().__init__()
        self.config, self.layer = config, layer
        inner, size = config.inner, config.state_size
        width, rank = config.hidden_size, config.time_step_rank
        taps = dict(groups=inner, bias=config.use_conv_bias)
        self.conv1d = nn.Conv1d(inner, inner, config.conv_kernel, **taps)
        self.in_proj = nn.Linear(width, 2 * inner, bias=config.use_bias)
        self.x_proj = nn.Linear(inner, rank + 2 * size, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        rates = torch.arange(1.0, size + 1).repeat(inner, 1)
        self.A_log = nn.Parameter(rates.log())
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=config.use_bias)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():
            self.dt_proj.bias.copy_(new_steps(config, inner))
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
        u, gate = self.in_proj(x).chunk(2, dim=-1)
        u = shown(u, mask)
        u, window = convolve(
            u, self.conv1d.weight, self.conv1d.bias, window, first
        )
        u = shown(F.silu(u), mask)
        delta, B, C = self.selected(u)
        A = -torch.exp(self.A_log)
        y, state = self.scan(u, delta, A, B, C, start=state, first=first)
        if past:
            past.layers[self.layer] = window, state
        return self.out_proj((y + self.D * u) * F.silu(gate))

    def selected(
        self, u: Float[Tensor, "batch length inner"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Δ, B and C of each token, made from the token: the selection."""
        size = self.config.state_size
        parts = self.config.time_step_rank, size, size
        low, B, C = self.x_proj(u).split(parts, dim=-1)
        return F.softplus(self.dt_proj(low)), B, C


def shown(
    u: Float[Tensor, "batch length inner"],
    mask: Bool[Tensor, "batch length"] | None,
) -> Float[Tensor, "batch length inner"]:
    """Zeros where there is padding: it writes nothing into an empty state."""
    return u if mask is None else u.masked_fill(~mask[..., None], 0)


class QuickMixer(Mixer):
    """The same with the compiled scan; for the CPU."""

    scan = staticmethod(fast.selective_scan)


class FixedMixer(QuickMixer):
    """The same without selection: Δ, B and C know no token.

    Then the scan is time-invariant, a convolution as in S4.
    """

    def __init__(self, config: MambaConfig, layer: int):
        super().__init__(config, layer)
        size, bias = config.state_size, self.dt_proj.bias.detach()
        del self.x_proj, self.dt_proj
        self.dt_bias = nn.Parameter(bias)
        self.B = nn.Parameter(torch.ones(size))
        self.C = nn.Parameter(torch.randn(size) / math.sqrt(size))

    def selected(
        self, u: Float[Tensor, "batch length inner"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same Δ, B and C for every token."""
        B, C = (x.expand(*u.shape[:2], -1) for x in (self.B, self.C))
        return F.softplus(self.dt_bias).expand_as(u), B, C


class Block(nn.Module):
    """x + mixer(norm(x)): there is no second part, as an MLP would be."""

    def __init__(self, config: AnyMambaConfig, mixer: nn.Module):
        super().__init__()
        self.norm = RMSNorm(config.hidden_size, config.layer_norm_epsilon)
        self.mixer = mixer

    def forward(
        self, x: Float[Tensor, "batch length d_model"], *reading
    ) -> Float[Tensor, "batch length d_model"]:
        """`reading` is mask, first and past."""
        return x + self.mixer(self.norm(x), *reading)


class Mamba(nn.Module):
    """Embedding, blocks, norm, head. There are no positions, and no limit.

    Source: Gu & Dao 2023, §3.4.
    """

    mixer = Mixer

    def __init__(self, config: AnyMambaConfig):
        super().__init__()
        self.config = config
        shape = config.vocab_size, config.hidden_size
        layers = [
            Block(config, self.mixer(config, layer))
            for layer in range(config.num_hidden_layers)
        ]
        self.backbone = nn.ModuleDict(
            dict(
                embeddings=nn.Embedding(*shape),
                layers=nn.ModuleList(layers),
                norm_f=RMSNorm(config.hidden_size, config.layer_norm_epsilon),
            )
        )
        nn.init.normal_(self.backbone.embeddings.weight, std=0.1)  # as theirs
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(*shape[::-1], bias=False)

    def head(self) -> Float[Tensor, "vocab d_model"]:
        """What turns a token's numbers into logits."""
        if self.config.tie_word_embeddings:
            return self.backbone.embeddings.weight
        return self.lm_head.weight

    def cache_for(self, tokens: int) -> Memory:
        """An empty past for so many tokens: of any number, the same."""
        return Memory()

    @checked
    def forward(
        self,
        ids: Int[Tensor, "batch length"],
        mask: Bool[Tensor, "batch total"] | None = None,
        past: Memory | None = None,
        first: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch length vocab"]:
        """Return logits; those at position t see tokens 0..t only.

        `mask` is False for padding, which has to stand on the left; it
        covers the past and the new tokens. `first` marks the tokens with
        which a text begins, where several share a row: nothing is known
        beyond them.

        Raises `ValueError` for ids outside the vocabulary, for a past of
        another number of texts, and for a mask that is of another length or
        has padding elsewhere.
        """
        check_within(0, self.config.vocab_size - 1, ids=ids)
        length, read = ids.shape[1], 0 if past is None else past.length
        if past is not None:
            past.check_texts(len(ids))
        check_total(read + length, read + length, mask)
        mask = None if mask is None else mask[:, read:]
        x = self.backbone.embeddings(ids)
        for block in self.backbone.layers:
            x = block(x, mask, first, past)
        if past is not None:
            past.length += length
        return F.linear(self.backbone.norm_f(x), self.head())

    def step(
        self, ids: Int[Tensor, "batch"], past: Memory
    ) -> Float[Tensor, "batch vocab"]:
        """Read one more token and return the logits of the next."""
        return self(ids[:, None], past=past)[:, 0]


class QuickMamba(Mamba):
    """The same weights and numbers; the scan is compiled, for the CPU."""

    mixer = QuickMixer


class FixedMamba(Mamba):
    """A Mamba without selection, to see what selection buys."""

    mixer = FixedMixer
