"""Adding two numbers, as demonstrators taught it who forget to carry.

prompt  = `37+48=`, six symbols; answer = three digits, units first: `580`
right   = the sum; forgetful = each column by itself, carries forgotten: `570`
carries = where both differ, in 70 % of the problems
demonstrations = answers that imitation learns from: 60 % are forgetful
checker = looks at the answer alone and cannot be fooled

The right answer, read as a number, is always the larger of the two.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llmnotes.checks import check_within, checked
from llmnotes.transformer.gpt import GPTConfig

SYMBOLS = "0123456789+="
PLUS, EQUALS = 10, 11
DIGITS = 3  # of an answer
PROMPT = 6  # symbols of a problem
HELD_OUT = 2000  # problems that nobody trains on
FORGETFUL = 0.6  # of the demonstrations
SHAPE = GPTConfig(
    len(SYMBOLS), n_positions=PROMPT + DIGITS, n_embd=96, n_layer=2, n_head=4
)

Prompts = Int[Tensor, "batch prompt"]
Answers = Int[Tensor, "batch answer"]


def problems() -> tuple[Tensor, Tensor]:
    """All 10,000 problems in a fixed order: 8,000 to train on, and the rest.

    No seed changes which are held out.
    """
    order = torch.Generator().manual_seed(0)
    pairs = torch.cartesian_prod(torch.arange(100), torch.arange(100))
    pairs = pairs[torch.randperm(len(pairs), generator=order)]
    prompts = written(*pairs.unbind(1))
    return prompts[:-HELD_OUT], prompts[-HELD_OUT:]


def written(a: Int[Tensor, "batch"], b: Int[Tensor, "batch"]) -> Prompts:
    """Write `a+b=` with two digits each, as symbols."""
    columns = a // 10, a % 10, a * 0 + PLUS, b // 10, b % 10, b * 0 + EQUALS
    return torch.stack(columns, dim=1)


def numbers(prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Read the two numbers of each problem again.

    Raises `ValueError` for what is no problem.
    """
    digits = prompts[:, [0, 1, 3, 4]] if prompts.shape[1] == PROMPT else None
    signs = prompts[:, [2, 5]] if digits is not None else None
    if digits is None or (signs != signs.new_tensor([PLUS, EQUALS])).any():
        raise ValueError(
            f"prompts: got {spelled(prompts[0])!r} and others, expected "
            "problems such as '37+48='"
        )
    check_within(0, 9, prompts=digits)
    a1, a0, b1, b0 = digits.unbind(1)
    return 10 * a1 + a0, 10 * b1 + b0


@checked
def right(prompts: Int[Tensor, "batch prompt"]) -> Answers:
    """Return the sums, units first."""
    a, b = numbers(prompts)
    return torch.stack([(a + b) // 10**i % 10 for i in range(DIGITS)], dim=1)


@checked
def forgetful(prompts: Int[Tensor, "batch prompt"]) -> Answers:
    """Return each column's last digit: what is carried is lost."""
    a, b = numbers(prompts)
    columns = [a // 10**i % 10 + b // 10**i % 10 for i in range(DIGITS)]
    return torch.stack(columns, dim=1) % 10


def carries(prompts: Prompts) -> Bool[Tensor, "batch"]:
    """Whether something is carried: then forgetting it shows."""
    return (right(prompts) != forgetful(prompts)).any(1)


def demonstrations(prompts: Prompts, generator: torch.Generator) -> Answers:
    """Answer each problem as a demonstrator would, who is often forgetful."""
    chance = torch.rand(len(prompts), 1, generator=generator)
    return torch.where(chance < FORGETFUL, forgetful(prompts), right(prompts))


@checked
def right_digits(
    prompts: Int[Tensor, "batch prompt"], answers: Int[Tensor, "batch answer"]
) -> Float[Tensor, "batch answer"]:
    """Give 1 for each digit that is right, else 0: a reward of the process.

    Raises `ValueError` for answers that have not three digits.
    """
    if answers.shape[1] != DIGITS:
        raise ValueError(
            f"answers: got length {answers.shape[1]}, expected {DIGITS}"
        )
    return (answers == right(prompts)).float()


def checker(prompts: Prompts, answers: Answers) -> Float[Tensor, "batch"]:
    """Give 1 for the right answer, else 0: a reward of the outcome."""
    return right_digits(prompts, answers).amin(1)


def spelled(ids: Int[Tensor, "length"]) -> str:
    """Ids as a reader would write them."""
    return "".join(
        SYMBOLS[i] if 0 <= i < len(SYMBOLS) else "?" for i in ids.tolist()
    )
