"""A policy so small that all its answers can be counted, and its prompts."""

import functools

import torch

from llmnotes.transformer.gpt import GPT, GPTConfig

VOCAB, PROMPT, ANSWER = 3, 4, 2


@functools.cache
def kept(seed):
    torch.manual_seed(seed)
    model = GPT(GPTConfig(VOCAB, 7, n_embd=8, n_layer=1, n_head=2))
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:  # its answers are not all alike
                p.mul_(20)
    return model.double()


def policy(seed=0):
    """Always the same one; not to be trained."""
    return kept(seed).requires_grad_(False)


def prompt():
    """One prompt."""
    return torch.tensor([[2, 0, 1, 1]])


def every_answer():
    """The prompt, and all its answers."""
    answers = torch.cartesian_prod(*[torch.arange(VOCAB)] * ANSWER)
    return prompt().expand(len(answers), -1), answers


def adder(seed=0):
    """A new policy for the chapter's task that has learned nothing yet."""
    torch.manual_seed(seed)
    return GPT(GPTConfig(12, 9, n_embd=16, n_layer=1, n_head=2))
