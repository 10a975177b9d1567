"""Mixture of depths: a block that only some of the tokens pass.

    share  = of the tokens of a text, that pass; the others skip the block
    scores = one number a token, r = x W_θ; the largest pass
    out    = x + σ(r) · (block(x) − x) for those, x for the others

The choice among the tokens of a text looks at later ones, so that it cannot
be made while a text is written; the paper trains a predictor for that.

Source
- Raposo et al. 2024, "Mixture-of-Depths", arXiv 2404.02258, §3.2 to §3.5.
  There r itself multiplies; a sigmoid keeps it between 0 and 1.
"""

from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.models.llama import Block, Llama, LlamaConfig
from llmnotes.transformer.rope import Rotary


class DepthBlock(Block):
    """In every second layer, a block for the tokens with high scores.

    Raises `ValueError` for a past or padding: it needs whole texts.
    """

    share = 0.125

    def __init__(self, config: LlamaConfig, layer: int):
        super().__init__(config, layer)
        self.skips = layer % 2 == 1
        if self.skips:
            self.gate = nn.Linear(config.hidden_size, 1, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        turn: Rotary,
        visible=None,
        past=None,
    ) -> Float[Tensor, "batch length d_model"]:
        """All tokens, or those that are picked, among themselves."""
        if visible is not None or past is not None:
            raise ValueError(
                "past, mask: got one, expected none: which tokens pass is "
                "chosen among all of a text"
            )
        if not self.skips:
            return super().forward(x, turn)
        scores = self.gate(x).squeeze(-1)
        picked = picks(scores, self.share)
        where = picked[..., None].expand(-1, -1, x.shape[-1])
        rows = x.gather(1, where)
        change = super().forward(rows, Rotary(turn.angles[picked])) - rows
        weights = scores.gather(1, picked).sigmoid()[..., None]
        return x.scatter_add(1, where, weights * change)


def picks(
    scores: Float[Tensor, "batch length"], share: float
) -> Int[Tensor, "batch picked"]:
    """Where the largest scores of each row stand, from left to right."""
    count = max(1, int(share * scores.shape[1]))
    return scores.topk(count, dim=-1).indices.sort(dim=-1).values


class DepthLlama(Llama):
    """A Llama half of whose blocks most tokens skip."""

    block = DepthBlock
