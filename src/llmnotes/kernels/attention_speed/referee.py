"""A referee: first whether all give the same answer, then the clock."""

import torch
from torch import Tensor

from llmnotes.kernels.attention_speed.baselines import (
    compiled,
    five_lines,
    flex,
    in_place,
    torch_sdpa,
)
from llmnotes.kernels.attention_speed.memory_efficient import (
    memory_efficient_attention,
)
from llmnotes.kernels.flash_attention import cpu
from llmnotes.precision import wide
from llmnotes.transformer.attention import attention

CONTESTANTS = {
    "naive": attention,
    "memory_efficient": memory_efficient_attention,
    "sdpa": torch_sdpa,
    "numba_flash": cpu.flash_attention,
}
# Plain formulas at their strongest; on a CPU the last one has no gradient.
BASELINES = {
    "five_lines": five_lines,
    "in_place": in_place,
    "compiled": compiled,
    "flex": flex,
}


def forward(function, query, key, value) -> tuple[Tensor]:
    """What is raced: the causal output, without a trace for gradients."""
    with torch.no_grad():
        return (function(query, key, value, causal=True),)


def forward_backward(function, query, key, value) -> tuple[Tensor, ...]:
    """What is raced: output and gradients of its inner product with query.

    The gradient that comes in from above is then the query: as good as
    random, and no time goes into making it.
    """
    inputs = [x.detach().requires_grad_() for x in (query, key, value)]
    out = function(*inputs, causal=True)
    return out.detach(), *torch.autograd.grad(out, inputs, query)


def decode(function, query, key, value) -> tuple[Tensor]:
    """What is raced: the next token's query, which sees the whole cache."""
    with torch.no_grad():
        return (function(query, key, value),)


TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 4e-2}


def row_error(got: Tensor, expected: Tensor) -> float:
    """The worst row's ‖got - expected‖ over its own and a typical norm.

    Late rows of causal attention average thousands of values and are small:
    an absolute tolerance that early rows pass would never see them fail.
    """
    norms = expected.norm(dim=-1)
    errors = (got.to(expected.dtype) - expected).norm(dim=-1)
    return float((errors / (norms + norms.square().mean().sqrt())).max())


def same_answers(
    contestants: dict,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    run=forward,
    expected: tuple | None = None,
) -> dict[str, float]:
    """Return each contestant's error, or refuse the race.

    All get the same inputs; their answers are compared with `expected`, by
    default naive attention's on the same numbers in at least float32.

    Raises `ValueError` naming the contestant whose answer is another one.
    """
    if expected is None:
        expected = run(attention, *map(wide, (query, key, value)))
    limit, errors = TOLERANCE[query.dtype], {}
    for name, function in contestants.items():
        answers = run(function, query, key, value)
        errors[name] = max(map(row_error, answers, expected))
        if not errors[name] <= limit:  # also refuses NaN
            raise ValueError(
                f"contestants[{name!r}]: got an answer {errors[name]:.1g} "
                f"away from naive attention's, expected at most {limit:g}"
            )
    return errors
