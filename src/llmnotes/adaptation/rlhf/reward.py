r"""A reward model: a GPT that has learned which of two answers is better.

chosen, rejected = two answers to the same prompt, the better one first
reward           = r(prompt, answer), a number for the whole answer
critic           = V, a number for what was read before each token
hidden           = what the last block says at each place, after its norm

Sources
- Bradley & Terry 1952, "Rank Analysis of Incomplete Block Designs".
- Ouyang et al. 2022, "InstructGPT", arXiv 2203.02155, §3.5.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.adaptation.rlhf.advantages import check_finite
from llmnotes.checks import checked
from llmnotes.transformer.gpt import GPT


def hidden(
    gpt: GPT, ids: Int[Tensor, "batch length"]
) -> Float[Tensor, "batch length d_model"]:
    """Return what GPT's head reads at each place."""
    model, places = gpt.transformer, torch.arange(ids.shape[1])
    x = model.drop(model.wte(ids) + model.wpe(places.to(ids.device)))
    for block in model.h:
        x = block(x)
    return model.ln_f(x)


class RewardModel(nn.Module):
    """A GPT with one number for a head, read at the last token."""

    def __init__(self, gpt: GPT):
        super().__init__()
        self.gpt = gpt
        self.head = nn.Linear(gpt.config.n_embd, 1)

    @checked
    def forward(
        self,
        prompts: Int[Tensor, "batch prompt"],
        answers: Int[Tensor, "batch answer"],
    ) -> Float[Tensor, "batch"]:
        """Return the reward of each answer; its zero means nothing."""
        texts = torch.cat([prompts, answers], dim=1)
        return self.head(hidden(self.gpt, texts)[:, -1])[:, 0]


class ActorCritic(nn.Module):
    """A policy, and a value at each place of what it reads: PPO's pair.

    The value of a place is made of what the policy's head reads there. It
    starts at 0.
    """

    def __init__(self, gpt: GPT):
        super().__init__()
        self.gpt = gpt
        self.head = nn.Linear(gpt.config.n_embd, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @checked
    def forward(
        self,
        prompts: Int[Tensor, "batch prompt"],
        answers: Int[Tensor, "batch answer"],
    ) -> tuple[
        Float[Tensor, "batch answer vocab"], Float[Tensor, "batch answer"]
    ]:
        """Return logits and values from before each token of the answers."""
        texts = torch.cat([prompts, answers], dim=1)
        read = hidden(self.gpt, texts[:, :-1])[:, prompts.shape[1] - 1 :]
        logits = F.linear(read, self.gpt.transformer.wte.weight)
        return logits, self.head(read)[..., 0]


@checked
def bradley_terry_loss(
    chosen: Float[Tensor, "batch"], rejected: Float[Tensor, "batch"]
) -> Float[Tensor, ""]:
    """-log σ(r_chosen - r_rejected), the mean over pairs.

    Only differences count: a reward model is known up to a constant.

    Raises `ValueError` for rewards that are not finite.

    Source: Ouyang et al. 2022, equation 1.
    """
    check_finite(None, chosen=chosen, rejected=rejected)
    return -F.logsigmoid(chosen - rejected).mean()
