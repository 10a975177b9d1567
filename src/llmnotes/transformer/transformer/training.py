r"""How the Transformer of 2017 is trained: smoothed loss, warm-up, Adam.

    smoothing = ε_ls (label smoothing)
    rate      = lrate, of step step_num (counted from 1)
    warmup    = warmup_steps, the step with the highest rate

Sources
- Vaswani et al. 2017, "Attention Is All You Need", arXiv 1706.03762, §5.3
  (the schedule) and §5.4 (label smoothing).
- Szegedy et al. 2015, "Rethinking the Inception Architecture", arXiv
  1512.00567, §7 (label smoothing).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_sizes, check_within, checked


@checked
def smoothed_cross_entropy(
    logits: Float[Tensor, "*batch vocab"],
    targets: Int[Tensor, "*batch"],
    smoothing: float = 0.1,
    ignore: int | None = None,
) -> Float[Tensor, ""]:
    """Mean of -Σ q ln p with q = (1 - ε)·[k = target] + ε/V.

    Targets equal to `ignore` (padding) count neither above nor below the
    fraction bar; without any other target the mean is 0/0, a NaN.

    Raises `ValueError` for targets that are neither tokens nor `ignore`.

    Source: Szegedy et al. 2015.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(
            f"smoothing: got {smoothing}, expected 0 <= smoothing < 1"
        )
    real = torch.ones_like(targets, dtype=torch.bool)
    if ignore is not None:
        real = targets != ignore
    targets = targets.where(real, 0)
    check_within(0, logits.shape[-1] - 1, targets=targets)
    log_p = logits.log_softmax(-1)
    right = log_p.gather(-1, targets[..., None].long())[..., 0]
    losses = -(1 - smoothing) * right
    if smoothing:  # 0·∞ is no number
        losses = losses - smoothing * log_p.mean(-1)
    if ignore is None:
        return losses.mean()
    return losses[real].sum() / real.sum()


def noam(step: int, d_model: int, warmup: int = 4000) -> float:
    """d_model^-½ · min(step^-½, step·warmup^-1½), steps from 1.

    Up in a line until `warmup`, then down with the root of the step.

    Raises `ValueError` for a step below 1, whose root has no inverse.

    Source: Vaswani et al. 2017, eq. 3.
    """
    check_sizes(step=step, warmup=warmup)
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


def adam(model: nn.Module) -> torch.optim.Adam:
    """Adam with the paper's β₂ = 0.98 and ε = 1e-9.

    Source: Vaswani et al. 2017, §5.3.
    """
    parameters = model.parameters()
    return torch.optim.Adam(parameters, betas=(0.9, 0.98), eps=1e-9)
