"""Multi-token prediction: say not only the next token, but some after it.

    ahead = n, how many tokens are predicted at each place
    trunk = all blocks but the last, which is the head of the next token
    heads = a block for each token after that, all reading the trunk

Source
- Gloeckle et al. 2024, "Better & Faster Large Language Models via Multi-token
  Prediction", arXiv 2404.19737, §2.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_sizes, checked
from llmnotes.models.llama import Llama, LlamaConfig
from llmnotes.models.llama.model import places
from llmnotes.transformer.gpt import initialise


class AheadLlama(Llama):
    """A Llama with heads for later tokens; called, it says the next one.

    Raises `ValueError` for fewer than one token ahead.
    """

    def __init__(self, config: LlamaConfig, ahead: int):
        super().__init__(config)
        check_sizes(ahead=ahead)
        last = config.num_hidden_layers - 1
        self.heads = nn.ModuleList(
            self.block(config, last) for _ in range(ahead - 1)
        )
        initialise(self, residuals=1)

    @checked
    def ahead(
        self, ids: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "ahead batch length vocab"]:
        """Logits of the next token, of the one after it, and so on."""
        x = self.model.embed_tokens(ids)
        turn = self.turn(places(ids, ids.shape[1], None), x.dtype)
        *trunk, last = self.model.layers
        for block in trunk:
            x = block(x, turn)
        states = torch.stack([b(x, turn) for b in (last, *self.heads)])
        return F.linear(self.model.norm(states), self.head())


def ahead_loss(
    model: AheadLlama, ids: Int[Tensor, "batch length"]
) -> Float[Tensor, "ahead"]:
    """Mean cross-entropy of each head, at the places where all have one."""
    count = 1 + len(model.heads)
    if ids.shape[1] <= count:
        raise ValueError(
            f"ids: got length {ids.shape[1]}, expected more than the "
            f"{count} tokens ahead"
        )
    length = ids.shape[1] - count
    losses = [
        F.cross_entropy(logits.flatten(0, 1), ids[:, i : i + length].flatten())
        for i, logits in enumerate(model.ahead(ids[:, :length]), start=1)
    ]
    return torch.stack(losses)
