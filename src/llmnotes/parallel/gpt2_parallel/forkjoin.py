"""GPT-2's kernels by fork and join: each call is one loop for all threads.

    team       = the threads; they meet after every call
    items      = what a call is cut into; each writes what no other writes
    *_backward = adds to gradients; *_backward_first sets them, and is for
                 tensors that nobody has written to in this step

How an item computes does not depend on who takes it, so one thread and two
give the same bits.

Sources
- Karpathy 2024, llm.c: train_gpt2.c, whose names and order of arguments
  these are.
"""

import numpy as np
import torch

from llmnotes.kernels.gemm.packed import SCRATCH
from llmnotes.parallel.gpt2_parallel import heads, linear, pointwise, rows
from llmnotes.parallel.gpt2_parallel.linear import NONE, grid, items
from llmnotes.parallel.gpt2_parallel.shaped import (
    check_ids,
    check_length,
    check_tokens,
    shaped,
)
from llmnotes.parallel.gpt2_parallel.team import Team


def flat(x: np.ndarray) -> np.ndarray:
    """All numbers in a row."""
    return x.reshape(-1)


def matrix(x: np.ndarray) -> np.ndarray:
    """The last axis, and all others as one."""
    return x.reshape(-1, x.shape[-1])


def blocks(size: int, block: int) -> int:
    """How many blocks hold so many."""
    return -(-size // block)


class ForkJoin:
    """llm.c's kernels for float32 arrays without gaps, on some threads.

    `threads` defaults to torch's number. Every method writes in place; what
    is called forward replaces, what is called backward adds. The first call
    of each compiles, for some seconds, once per machine. Raises `ValueError`
    naming the array that does not fit the others, before it writes.
    """

    def __init__(self, threads: int | None = None):
        self.team = Team(threads or torch.get_num_threads(), SCRATCH)

    def close(self) -> None:
        """End the threads."""
        self.team.close()

    def pointwise(self, worker, *arrays, numbers=()) -> None:
        """Run a worker on chunks of arrays that are all alike."""
        arrays = map(flat, arrays)
        first = next(arrays)
        count = blocks(first.size, pointwise.CHUNK)
        self.team.run(worker, count, first, *arrays, *numbers)

    @shaped(out="b t c", inp="b t", wte="v c", wpe="p c")
    def encoder_forward(self, out, inp, wte, wpe):
        """Token's row plus position's row."""
        check_ids("inp", inp, len(wte))
        check_length(inp, wpe)
        self.team.run(
            pointwise.encoder_forward, inp.size, matrix(out), inp, wte, wpe
        )

    @shaped(dwte="v c", dwpe="p c", dout="b t c", inp="b t")
    def encoder_backward(self, dwte, dwpe, dout, inp):
        """Items are columns: tokens may come twice, and none is locked."""
        check_ids("inp", inp, len(dwte))
        check_length(inp, dwpe)
        count = blocks(dout.shape[-1], pointwise.COLUMNS)
        self.team.run(
            pointwise.encoder_backward, count, dwte, dwpe, matrix(dout), inp
        )

    @shaped(
        out="b t c", mean="b t", rstd="b t", inp="b t c", weight="c", bias="c"
    )
    def layernorm_forward(self, out, mean, rstd, inp, weight, bias):
        """Items are rows."""
        self.team.run(
            rows.layernorm_forward,
            blocks(mean.size, rows.ROWS),
            matrix(out),
            flat(mean),
            flat(rstd),
            matrix(inp),
            weight,
            bias,
        )

    @shaped(
        dinp="b t c", dweight="c", dbias="c", dout="b t c", inp="b t c",
        weight="c", mean="b t", rstd="b t",
    )  # fmt: skip
    def layernorm_backward(
        self, dinp, dweight, dbias, dout, inp, weight, mean, rstd
    ):
        """Items are rows of dinp, then columns of dweight and dbias."""
        count = blocks(mean.size, rows.ROWS)
        count += blocks(dweight.size, rows.COLUMNS)
        self.team.run(
            rows.layernorm_backward,
            count,
            matrix(dinp),
            dweight,
            dbias,
            matrix(dout),
            matrix(inp),
            weight,
            flat(mean),
            flat(rstd),
        )

    @shaped(out="b t o", inp="b t c", weight="o c", bias="o")
    def matmul_forward(self, out, inp, weight, bias):
        """Items are blocks of `out`; `bias` may be None."""
        out, inp = matrix(out), matrix(inp)
        bias = NONE if bias is None else bias
        cut = grid(*out.shape, self.team.threads)
        count = items(out.shape, cut)
        self.team.run(
            linear.matmul_forward, count, out, inp, weight, bias, cut
        )

    @shaped(
        dinp="b t c", dweight="o c", dbias="o", dout="b t o", inp="b t c",
        weight="o c",
    )  # fmt: skip
    def matmul_backward(self, dinp, dweight, dbias, dout, inp, weight):
        """Items are blocks of both products, and columns of the bias."""
        self.products(dinp, dweight, dbias, dout, inp, weight, True)

    @shaped(
        dinp="b t c", dweight="o c", dbias="o", dout="b t o", inp="b t c",
        weight="o c",
    )  # fmt: skip
    def matmul_backward_first(self, dinp, dweight, dbias, dout, inp, weight):
        """The same, set."""
        self.products(dinp, dweight, dbias, dout, inp, weight, False)

    def products(self, dinp, dweight, dbias, dout, inp, weight, add):
        """Both products of a layer's backward in one fork."""
        dinp, dout, inp = map(matrix, (dinp, dout, inp))
        dbias = NONE if dbias is None else dbias
        threads = self.team.threads
        cuts = grid(*dweight.shape, threads), grid(*dinp.shape, threads)
        counts = items(dweight.shape, cuts[0]), items(dinp.shape, cuts[1])
        self.team.run(
            linear.matmul_backward,
            sum(counts) + blocks(dbias.size, linear.COLUMNS),
            dinp,
            dweight,
            dbias,
            dout,
            inp,
            weight,
            cuts,
            counts,
            np.bool_(add),
        )

    @shaped(out="b t c", preatt="b h t t", att="b h t t", inp="b t 3c")
    def attention_forward(self, out, preatt, att, inp):
        """Items are blocks of a head's queries; later ones take longer."""
        batch, count, length = self.head_sizes("inp", att, out, inp)
        count *= batch * blocks(length, heads.BLOCK)
        self.team.run(heads.attention_forward, count, out, preatt, att, inp)

    @shaped(
        dinp="b t 3c", dpreatt="b h t t", datt="b h t t", dout="b t c",
        inp="b t 3c", att="b h t t",
    )  # fmt: skip
    def attention_backward(self, dinp, dpreatt, datt, dout, inp, att):
        """Items are heads."""
        batch, count, _ = self.head_sizes("inp", att, dout, inp)
        self.team.run(
            heads.attention_backward,
            batch * count,
            dinp,
            dpreatt,
            datt,
            dout,
            inp,
            att,
        )

    def head_sizes(self, name, att, out, inp) -> tuple[int, int, int]:
        """Batch, heads and length; makes room for a head."""
        batch, count, length, _ = att.shape
        width, rest = divmod(out.shape[2], count)
        if rest or inp.shape[2] != 3 * out.shape[2]:
            raise ValueError(
                f"{name}: got {inp.shape[2]} columns for {out.shape[2]} and "
                f"{count} heads, expected three times a multiple of heads"
            )
        self.team.reserve(heads.scratch_size(length, width))
        return batch, count, length

    @shaped(out="...", inp="...")
    def gelu_forward(self, out, inp):
        """Items are chunks."""
        self.pointwise(pointwise.gelu_forward, out, inp)

    @shaped(dinp="...", inp="...", dout="...")
    def gelu_backward(self, dinp, inp, dout):
        """Items are chunks."""
        self.pointwise(pointwise.gelu_backward, dinp, inp, dout)

    @shaped(dinp="...", inp="...", dout="...")
    def gelu_backward_first(self, dinp, inp, dout):
        """The same, set."""
        self.pointwise(pointwise.gelu_backward_first, dinp, inp, dout)

    @shaped(out="...", inp1="...", inp2="...")
    def residual_forward(self, out, inp1, inp2):
        """Items are chunks."""
        self.pointwise(pointwise.residual_forward, out, inp1, inp2)

    @shaped(dinp1="...", dinp2="...", dout="...")
    def residual_backward(self, dinp1, dinp2, dout):
        """Items are chunks."""
        self.pointwise(pointwise.residual_backward, dinp1, dinp2, dout)

    @shaped(dinp1="...", dinp2="...", dout="...")
    def residual_backward_first(self, dinp1, dinp2, dout):
        """The same, set."""
        self.pointwise(pointwise.residual_backward_first, dinp1, dinp2, dout)

    @shaped(probs="b t v", logits="b t v")
    def softmax_forward(self, probs, logits, V):
        """Items are rows."""
        check_tokens(V, logits)
        probs, logits = matrix(probs), matrix(logits)
        self.team.run(rows.softmax_forward, len(probs), probs, logits, V)

    @shaped(losses="b t", probs="b t v", targets="b t")
    def crossentropy_forward(self, losses, probs, targets):
        """One number of each row: not worth a fork."""
        check_ids("targets", targets, probs.shape[-1])
        chance = np.take_along_axis(probs, targets[..., None].astype(int), -1)
        np.negative(np.log(chance[..., 0]), out=losses)

    @shaped(dlogits="b t v", dlosses="b t", probs="b t v", targets="b t")
    def crossentropy_softmax_backward(
        self, dlogits, dlosses, probs, targets, V
    ):
        """Items are rows."""
        check_tokens(V, probs, targets)
        worker = rows.crossentropy_softmax_backward
        self.logit_rows(worker, dlogits, dlosses, probs, targets, V)

    @shaped(dlogits="b t v", dlosses="b t", probs="b t v", targets="b t")
    def crossentropy_softmax_backward_first(
        self, dlogits, dlosses, probs, targets, V
    ):
        """The same, set."""
        check_tokens(V, probs, targets)
        worker = rows.crossentropy_softmax_backward_first
        self.logit_rows(worker, dlogits, dlosses, probs, targets, V)

    def logit_rows(self, worker, dlogits, dlosses, probs, targets, tokens):
        """Run a worker on rows of logits."""
        self.team.run(
            worker,
            targets.size,
            matrix(dlogits),
            flat(dlosses),
            matrix(probs),
            flat(targets),
            tokens,
        )

    @shaped(params="...", grads="...", m="...", v="...")
    def adamw(
        self, params, grads, m, v, lr, beta1, beta2, eps, weight_decay, t
    ):
        """Items are chunks; one pass over the four arrays."""
        numbers = (
            beta1,
            1 - beta1,
            beta2,
            1 - beta2,
            1 / (1 - beta1**t),
            1 / (1 - beta2**t),
            eps,
            lr,
            lr * weight_decay,
        )
        numbers = tuple(map(np.float32, numbers))
        self.pointwise(
            pointwise.adamw, params, grads, m, v, numbers=(numbers,)
        )
