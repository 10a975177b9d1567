"""Every kernel in NumPy, readable first: the arrays decide the precision.

Each function writes into the arrays it is given. Forward ones replace what is
there; backward ones add to it, since a tensor that was read twice gets two
gradients.

    out, inp       = what a layer writes and reads, rows (batch, length, ...)
    weight, bias   = its parameters; a matrix is (outputs, inputs)
    mean, rstd     = of a row before it was normalised; rstd = 1/σ
    preatt, att    = scores and weights, (batch, heads, query, key)
    dX             = the gradient of the loss by X
    V              = tokens; columns behind them are padding

Sources
- Karpathy 2024, llm.c: train_gpt2.c, whose names and order of arguments
  these are.
- Ba et al. 2016, "Layer Normalization", arXiv 1607.06450.
- Hendrycks and Gimpel 2016, "GELU", arXiv 1606.08415, §2 (with tanh).
- Loshchilov and Hutter 2017, "Decoupled Weight Decay Regularization",
  arXiv 1711.05101, algorithm 2 (AdamW).
"""

import math

import numpy as np
from einops import rearrange
from jaxtyping import Float, Int

EPS = 1e-5  # of every norm, below its root
BEND = math.sqrt(2 / math.pi)

Ids = Int[np.ndarray, "batch length"]
Rows = Float[np.ndarray, "batch length d_model"]
Scalars = Float[np.ndarray, "batch length"]
Vector = Float[np.ndarray, "d_model"]
Square = Float[np.ndarray, "batch heads query key"]
Logits = Float[np.ndarray, "batch length vocab"]


def encoder_forward(
    out: Rows,
    inp: Ids,
    wte: Float[np.ndarray, "vocab d_model"],
    wpe: Float[np.ndarray, "total d_model"],
) -> None:
    """The token's row of wte plus the position's row of wpe."""
    out[:] = wte[inp] + wpe[: inp.shape[1]]


def encoder_backward(
    dwte: Float[np.ndarray, "vocab d_model"],
    dwpe: Float[np.ndarray, "total d_model"],
    dout: Rows,
    inp: Ids,
) -> None:
    """Each row of dout goes to its token's row and its position's."""
    np.add.at(dwte, inp, dout)  # dwte[inp] += dout adds a token once only
    dwpe[: inp.shape[1]] += dout.sum(0)


def layernorm_forward(
    out: Rows,
    mean: Scalars,
    rstd: Scalars,
    inp: Rows,
    weight: Vector,
    bias: Vector,
) -> None:
    """Each row with mean 0 and variance 1, then scaled and moved."""
    mean[:] = inp.mean(-1)
    centred = inp - mean[..., None]
    rstd[:] = 1 / np.sqrt((centred**2).mean(-1) + EPS)
    out[:] = centred * rstd[..., None] * weight + bias


def layernorm_backward(
    dinp: Rows,
    dweight: Vector,
    dbias: Vector,
    dout: Rows,
    inp: Rows,
    weight: Vector,
    mean: Scalars,
    rstd: Scalars,
) -> None:
    """What moves a row's mean or its length does not reach the output."""
    norm = (inp - mean[..., None]) * rstd[..., None]
    dbias += dout.sum((0, 1))
    dweight += (dout * norm).sum((0, 1))
    dnorm = dout * weight
    along = (dnorm * norm).mean(-1, keepdims=True)
    dnorm -= dnorm.mean(-1, keepdims=True) + norm * along
    dinp += dnorm * rstd[..., None]


def matmul_forward(
    out: Float[np.ndarray, "batch length output"],
    inp: Float[np.ndarray, "batch length input"],
    weight: Float[np.ndarray, "output input"],
    bias: Float[np.ndarray, "output"] | None,
) -> None:
    """x·Wᵀ + b, row by row."""
    np.matmul(inp, weight.T, out=out)
    if bias is not None:
        out += bias


def matmul_backward(
    dinp: Float[np.ndarray, "batch length input"],
    dweight: Float[np.ndarray, "output input"],
    dbias: Float[np.ndarray, "output"] | None,
    dout: Float[np.ndarray, "batch length output"],
    inp: Float[np.ndarray, "batch length input"],
    weight: Float[np.ndarray, "output input"],
) -> None:
    """Two products as large as the one before, and a sum over rows."""
    dinp += dout @ weight
    rows, drows = (x.reshape(-1, x.shape[-1]) for x in (inp, dout))
    dweight += drows.T @ rows
    if dbias is not None:
        dbias += drows.sum(0)


def split(
    qkv: Float[np.ndarray, "batch length width"], heads: int
) -> Float[np.ndarray, "3 batch heads length head_dim"]:
    """Query, key and value of each head: a view."""
    return rearrange(qkv, "b t (x h d) -> x b h t d", x=3, h=heads)


def attention_forward(
    out: Rows,
    preatt: Square,
    att: Square,
    inp: Float[np.ndarray, "batch length thrice"],
) -> None:
    """Each token takes a weighted mean of the values up to its own."""
    query, key, value = split(inp, preatt.shape[1])
    scale = 1 / math.sqrt(query.shape[-1])
    past = np.tri(inp.shape[1], dtype=bool)
    preatt[:] = np.where(past, query @ key.mT * scale, 0)
    high = np.where(past, preatt, -np.inf).max(-1, keepdims=True)
    att[:] = np.exp(preatt - high) * past
    att /= att.sum(-1, keepdims=True)
    out[:] = rearrange(att @ value, "b h t d -> b t (h d)")


def attention_backward(
    dinp: Float[np.ndarray, "batch length thrice"],
    dpreatt: Square,
    datt: Square,
    dout: Rows,
    inp: Float[np.ndarray, "batch length thrice"],
    att: Square,
) -> None:
    """Back through the mean, the softmax and the scores."""
    query, key, value = split(inp, att.shape[1])
    dquery, dkey, dvalue = split(dinp, att.shape[1])
    scale = 1 / math.sqrt(query.shape[-1])
    drows = rearrange(dout, "b t (h d) -> b h t d", h=att.shape[1])
    past = np.tri(dout.shape[1], dtype=bool)
    dvalue += att.mT @ drows
    datt += np.where(past, drows @ value.mT, 0)
    dpreatt += att * (datt - (att * datt).sum(-1, keepdims=True))
    dquery += dpreatt @ key * scale
    dkey += dpreatt.mT @ query * scale


def gelu_forward(
    out: Float[np.ndarray, "*shape"], inp: Float[np.ndarray, "*shape"]
) -> None:
    """½x(1 + tanh(√(2/π)(x + 0.044715x³)))."""
    out[:] = 0.5 * inp * (1 + np.tanh(BEND * (inp + 0.044715 * inp**3)))


def gelu_backward(
    dinp: Float[np.ndarray, "*shape"],
    inp: Float[np.ndarray, "*shape"],
    dout: Float[np.ndarray, "*shape"],
) -> None:
    """Slope by the product rule; 1 - tanh² never overflows, cosh² does."""
    bend = np.tanh(BEND * (inp + 0.044715 * inp**3))
    inner = BEND * (1 + 3 * 0.044715 * inp**2)
    dinp += (0.5 * (1 + bend) + 0.5 * inp * (1 - bend**2) * inner) * dout


def residual_forward(
    out: Float[np.ndarray, "*shape"],
    inp1: Float[np.ndarray, "*shape"],
    inp2: Float[np.ndarray, "*shape"],
) -> None:
    """The stream and what a sublayer adds to it."""
    np.add(inp1, inp2, out=out)


def residual_backward(
    dinp1: Float[np.ndarray, "*shape"],
    dinp2: Float[np.ndarray, "*shape"],
    dout: Float[np.ndarray, "*shape"],
) -> None:
    """Both get all of it."""
    dinp1 += dout
    dinp2 += dout


def softmax_forward(probs: Logits, logits: Logits, V: int) -> None:
    """Probabilities of the V tokens; columns of padding get 0."""
    real = logits[..., :V]
    probs[..., :V] = np.exp(real - real.max(-1, keepdims=True))
    probs[..., V:] = 0
    probs /= probs.sum(-1, keepdims=True)


def crossentropy_forward(losses: Scalars, probs: Logits, targets: Ids) -> None:
    """-ln p of the token that came, in nats."""
    chance = np.take_along_axis(probs, targets[..., None].astype(int), -1)
    losses[:] = -np.log(chance[..., 0])


def crossentropy_softmax_backward(
    dlogits: Logits, dlosses: Scalars, probs: Logits, targets: Ids, V: int
) -> None:
    """(p - 1 where the token is, p elsewhere) · dloss; padding gets 0."""
    b, t = np.indices(targets.shape)
    dlogits[..., :V] += probs[..., :V] * dlosses[..., None]
    dlogits[b, t, targets] -= dlosses


def adamw(
    params: Float[np.ndarray, "*shape"],
    grads: Float[np.ndarray, "*shape"],
    m: Float[np.ndarray, "*shape"],
    v: Float[np.ndarray, "*shape"],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    t: int,
) -> None:
    """One step of AdamW, the t-th, t = 1, 2, …; decay on every number."""
    m[:] = beta1 * m + (1 - beta1) * grads
    v[:] = beta2 * v + (1 - beta2) * grads**2
    mean, square = m / (1 - beta1**t), v / (1 - beta2**t)
    params -= lr * (mean / (np.sqrt(square) + eps) + weight_decay * params)
