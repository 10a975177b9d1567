r"""How far a policy has gone, estimated from the one token it has drawn.

policy    = log π(y), reference = log π_ref(y), of a y drawn from π
log_ratio = log r = log π_ref(y) - log π(y)
k1        = -log r            unbiased, may be negative
k2        = (log r)²/2        biased, never negative
k3        = r - 1 - log r     unbiased, never negative

An unbiased *number* need not have an unbiased *gradient*. On average over
y ~ π the gradient of k1 is zero, that of k2 is the gradient of KL(π ‖ π_ref),
that of k3 the gradient of KL(π_ref ‖ π), the other way round.

Sources
- Schulman 2020, "Approximating KL Divergence",
  joschu.net/blog/kl-approx.html (k1, k2, k3).
- Tang & Munos 2025, "On a few pitfalls in KL divergence gradient estimation
  for RL", arXiv 2506.09477 (their gradients as a loss).
"""

from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import checked


@checked
def k1(
    policy: Float[Tensor, "*shape"], reference: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return log π - log π_ref."""
    return policy - reference


@checked
def k2(
    policy: Float[Tensor, "*shape"], reference: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return half the square of log π - log π_ref."""
    return (policy - reference).square() / 2


@checked
def k3(
    policy: Float[Tensor, "*shape"], reference: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return r - 1 - log r: k1 plus r - 1, whose mean is zero."""
    log_ratio = reference - policy
    # expm1, since near zero r - 1 would be rounded away
    return log_ratio.expm1() - log_ratio


@checked
def divergence(
    policy: Float[Tensor, "*shape vocab"],
    reference: Float[Tensor, "*shape vocab"],
) -> Float[Tensor, "*shape"]:
    """Return KL(π ‖ π_ref) of logits, exact: a sum over the vocabulary."""
    ours, theirs = policy.log_softmax(-1), reference.log_softmax(-1)
    return (ours.exp() * (ours - theirs)).sum(-1)
