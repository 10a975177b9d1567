"""CLIP's text tower reads captions: it can already, and learns no more.

vectors = what the tower makes of each token; it has read those before it
summary = the vector at the end of the caption, which has read them all

Sources
- Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion
  Models", arXiv 2112.10752, §3.3 (an encoder between caption and network);
  Stable Diffusion 1 takes CLIP's, frozen.
"""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor, nn

from llmnotes.checks import checked
from llmnotes.diffusion.clip import CLIP
from llmnotes.diffusion.clip.towers import end_of_text
from llmnotes.diffusion.glide.encoders import Read, check_empty


class Tower(nn.Module):
    """A copy of CLIP's text tower, frozen; `empty` are the ids of no words.

    Raises `ValueError` for ids that are no tokens, more than it knows or
    without an end of text.

    Source: Rombach et al. 2022, §3.3.
    """

    def __init__(self, clip: CLIP, empty: Sequence[int], pad: int = 0):
        super().__init__()
        check_empty(tuple(empty), clip.text_model.config.vocab_size, pad)
        self.empty, self.pad = tuple(empty), pad
        self.tower = copy.deepcopy(clip.text_model).requires_grad_(False)
        self.width = self.tower.width
        self.layers = nn.ModuleList()  # nothing of it is learned

    @checked
    def forward(self, ids: Int[Tensor, "batch length"]) -> Read:
        """A vector for each token, and that of the last one."""
        vectors = self.tower.hidden(ids)
        ends = end_of_text(ids, self.tower.config.eos_token_id)
        rows = torch.arange(len(ids), device=ids.device)
        return Read(vectors, ids != self.pad, vectors[rows, ends])

    def nothing(
        self, ids: Int[Tensor, "batch length"]
    ) -> Int[Tensor, "batch length"]:
        """The empty caption in each row."""
        return self.silence(len(ids))[:, : ids.shape[1]].to(ids)

    def silence(self, count: int) -> Int[Tensor, "batch length"]:
        """The empty caption, so many times."""
        device = next(self.tower.parameters()).device
        return torch.tensor(self.empty, device=device).expand(count, -1)
