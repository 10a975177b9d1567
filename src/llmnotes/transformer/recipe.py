"""A better recipe for the same number of parameters, and Muon to train it.

    mix    = λ, how much of the row before joins a row, per channel
    bigram = log-chances of pairs, counted before training, then trained
    momentum, ratio = Muon's β, and its learning rate as a multiple of Adam's

A block reads RMSNorm(x) plus λ times that of the position before (token
shift), normalises and rotates queries and keys, and bends with ReLU². Layers
that write to the residual stream start at zero, and so does the head: the
untrained model is exactly the bigram model.

Sources
1. Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural
   networks", kellerjordan.github.io/posts/muon.
2. Peng et al. 2023, "RWKV", arXiv 2305.13048, §3 (token shift); So et al.
   2021, "Primer", arXiv 2109.08668 (squared ReLU, short convolutions).
3. Henry et al. 2020, "Query-Key Normalization for Transformers", arXiv
   2010.04245.
4. Zhang et al. 2019, "Fixup Initialization", arXiv 1901.09321 (residual
   branches that start at zero).
"""

from collections import defaultdict
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.transformer.bigram import log_chances, pair_counts
from llmnotes.transformer.fused import attend, relu_squared, rms_norm
from llmnotes.transformer.gpt import checked
from llmnotes.transformer.rope import angles


@dataclass(frozen=True)
class RecipeConfig:
    """A shape that stays within the parameters of MINIGPT: see n_inner."""

    vocab_size: int = 65
    n_positions: int = 32
    n_embd: int = 128
    n_layer: int = 4
    n_head: int = 4
    n_inner: int = 508  # four less than 4·n_embd pay for the pair table


class RecipeBlock(nn.Module):
    """Attention and MLP, each reading the stream and the step before it."""

    unit = True  # queries and keys of length √head_dim
    bend = staticmethod(relu_squared)

    def __init__(self, config: RecipeConfig):
        super().__init__()
        width = config.n_embd
        self.heads = config.n_head
        self.mix_1 = nn.Parameter(torch.zeros(width))
        self.mix_2 = nn.Parameter(torch.zeros(width))
        self.c_attn = nn.Linear(width, 3 * width, bias=False)
        self.c_proj = nn.Linear(width, width, bias=False)
        self.c_fc = nn.Linear(width, config.n_inner, bias=False)
        self.c_out = nn.Linear(config.n_inner, width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        turn: Float[Tensor, "length half"] | None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Read the residual stream twice, add to it twice."""
        z = self.c_attn(rms_norm(x, self.mix_1))
        x = x + self.c_proj(attend(z, self.heads, turn, unit=self.unit))
        h = self.bend(self.c_fc(rms_norm(x, self.mix_2)))
        return x + self.c_out(h)


class Recipe(nn.Module):
    """The model of the recipe; `train_ids` are counted for its pair table."""

    block = RecipeBlock

    def __init__(self, config: RecipeConfig, train_ids: Int[Tensor, "tokens"]):
        super().__init__()
        self.config, self.n_positions = config, config.n_positions
        vocab, width = config.vocab_size, config.n_embd
        pairs = log_chances(pair_counts(train_ids, vocab), add=0.1).float()
        self.bigram = nn.Embedding.from_pretrained(pairs, freeze=False)
        self.wte = nn.Embedding(vocab, width)
        self.h = nn.ModuleList(
            self.block(config) for _ in range(config.n_layer)
        )
        self.lm_head = nn.Linear(width, vocab, bias=False)
        self.register_buffer("unmixed", torch.zeros(width), persistent=False)
        self.initialise()

    def initialise(self) -> None:
        """What reads starts at half of 1/√inputs, what writes at zero."""
        for name, p in self.h.named_parameters():
            if name.endswith(("c_attn.weight", "c_fc.weight")):
                nn.init.normal_(p, std=0.5 * p.shape[1] ** -0.5)
            elif name.endswith(("c_proj.weight", "c_out.weight")):
                nn.init.zeros_(p)
        nn.init.zeros_(self.lm_head.weight)

    def turn(self, length: int) -> Float[Tensor, "length half"] | None:
        """Angles of RoPE."""
        head_dim = self.config.n_embd // self.config.n_head
        return angles(torch.arange(length), head_dim)

    @checked
    def forward(
        self, ids: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length vocab"]:
        """Return logits: what the pairs say, plus what the blocks add."""
        x = rms_norm(self.wte(ids), self.unmixed)
        turn = self.turn(ids.shape[1])
        for block in self.h:
            x = block(x, turn)
        return self.bigram(ids) + self.lm_head(rms_norm(x, self.unmixed))


def orthogonalise(
    g: Float[Tensor, "*batch rows columns"], steps: int = 5
) -> Float[Tensor, "*batch rows columns"]:
    """Push all singular values of g to about 1, keep its directions [1].

    With g = UΣVᵀ this is roughly UVᵀ. The odd polynomial
    3.4445x - 4.7750x³ + 2.0315x⁵ moves any σ in (0, 1] to between 0.7 and
    1.2 within five rounds, by matrix products alone.
    """
    wide = g.shape[-2] <= g.shape[-1]
    x = g if wide else g.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (2.0315 * square @ square - 4.7750 * square) @ x
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Momentum, then every matrix's update made orthogonal [1].

    A matrix with three times as many rows as columns is c_attn's: queries,
    keys and values are made orthogonal one by one. Equal shapes are stacked,
    so that one product does the work of all layers.
    """

    def __init__(self, params, lr=0.02, momentum=0.95, ratio=1.0):
        super().__init__(params, dict(lr=lr, momentum=momentum, ratio=ratio))

    @torch.no_grad()
    def step(self) -> None:
        """Move every matrix by lr·ratio along its orthogonalised gradient."""
        for group in self.param_groups:
            shapes = defaultdict(list)
            for p in group["params"]:
                shapes[p.shape].append(p)
            for same in shapes.values():
                self.move(same, group)

    def move(self, matrices: list[Tensor], group: dict) -> None:
        """Update matrices of one shape."""
        g = torch.stack([p.grad for p in matrices])
        state = self.state[matrices[0]]
        mean = state.setdefault("mean", torch.zeros_like(g))
        mean.lerp_(g, 1 - group["momentum"])
        update = torch.lerp(g, mean, group["momentum"])  # Nesterov's
        rows, columns = g.shape[1:]
        if rows == 3 * columns:  # queries, keys and values are three matrices
            update = update.reshape(-1, columns, columns)
        update = orthogonalise(update)
        tall = max(1, update.shape[-2] / update.shape[-1]) ** 0.5
        rate = group["lr"] * group["ratio"] * tall
        for p, u in zip(matrices, update.reshape(g.shape), strict=True):
            p.add_(u, alpha=-rate)


class MuonAdamW:
    """Muon for the blocks' matrices, AdamW for all the rest, as one.

    `train.update` sets one learning rate for every group; Muon multiplies
    it by `ratio`.
    """

    def __init__(self, model: Recipe, lr=3e-3, ratio=7.0, betas=(0.9, 0.98)):
        inner = [p for p in model.h.parameters() if p.ndim == 2]
        known = {id(p) for p in inner}
        rest = [p for p in model.parameters() if id(p) not in known]
        adam = torch.optim.AdamW(
            rest, lr=lr, betas=betas, eps=1e-10, weight_decay=0, fused=True
        )
        self.parts = Muon(inner, lr=lr, ratio=ratio), adam

    @property
    def param_groups(self) -> list[dict]:
        """The groups of both."""
        return [g for part in self.parts for g in part.param_groups]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for part in self.parts:
            part.zero_grad()

    def step(self) -> None:
        """Let both move."""
        for part in self.parts:
            part.step()
