"""The whole decode loop compiled by numba, on several threads.

Arrays are float32; `threads` of them run `decode` side by side and meet at a
`gate` whenever one needs what the others wrote, four times a layer.

    x      = the residual stream of the token that is read
    joined = this thread's queries, keys and values of one group of heads
    seen   = what attention hands back, of all heads
    bent   = silu(gate)·up
    keys, values = (layers, kv_heads, total, head_dim)
    scale  = what a row's whole numbers are multiplied by; 1 for float32

A step at batch 1 multiplies every matrix by one vector: each weight is read
once and used once, so memory is the limit. `CompiledInt8` reads a quarter of
the bytes.

Sources
- Dettmers et al. 2022, "LLM.int8()", arXiv 2208.07339, §2.1 (absmax
  quantization, here one scale for each row of the weights).
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from llmnotes.checks import check_sizes
from llmnotes.compiled import exp, jit
from llmnotes.models.kv_cache.gate import meet
from llmnotes.models.kv_cache.packed import check_one, layers
from llmnotes.models.llama import Llama
from llmnotes.transformer.rope import angles_at

one, zero = np.float32(1), np.float32(0)


@jit
def multiply(rows, scale, x, y, first, last):
    """Make y = Wx for some of the rows, four at a time."""
    width = x.size
    for i in range(first, last - 3, 4):
        a, b, c, d = zero, zero, zero, zero
        u, v, w, z = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        for j in range(width):
            s = x[j]
            a += np.float32(u[j]) * s
            b += np.float32(v[j]) * s
            c += np.float32(w[j]) * s
            d += np.float32(z[j]) * s
        y[i], y[i + 1] = a * scale[i], b * scale[i + 1]
        y[i + 2], y[i + 3] = c * scale[i + 2], d * scale[i + 3]
    for i in range(last - (last - first) % 4, last):
        a, u = zero, rows[i]
        for j in range(width):
            a += np.float32(u[j]) * x[j]
        y[i] = a * scale[i]


@jit
def normalise(x, gain, eps, y):
    """Make y = x / √(mean(x²) + eps) · gain."""
    total = zero
    for i in range(x.size):
        total += x[i] * x[i]
    factor = one / np.sqrt(total / np.float32(x.size) + eps)
    for i in range(x.size):
        y[i] = x[i] * factor * gain[i]


@jit
def turn(head, cos, sin):
    """Rotate the pairs (0, d/2), (1, d/2 + 1), … of one head."""
    half = cos.size
    for i in range(half):
        a, b = head[i], head[half + i]
        head[i] = a * cos[i] - b * sin[i]
        head[half + i] = b * cos[i] + a * sin[i]


@jit
def look_back(query, keys, values, length, scores, out):
    """Attention of one query over `length` keys."""
    width = query.size
    root = one / np.sqrt(np.float32(width))
    most = np.float32(-3e38)  # fast maths knows no infinity
    for t in range(length):
        key, total = keys[t], zero
        for i in range(width):
            total += query[i] * key[i]
        scores[t] = total * root
        most = max(most, scores[t])
    whole = zero
    for t in range(length):
        scores[t] = exp(scores[t] - most)
        whole += scores[t]
    for i in range(width):
        out[i] = zero
    for t in range(length):
        share, value = scores[t] / whole, values[t]
        for i in range(width):
            out[i] += share * value[i]


@jit
def group(w, layer, g, place, x, keys, values, joined, scores, seen):
    """One group of heads: queries, key, value, rotation, attention."""
    kv_heads, width = keys.shape[1], keys.shape[3]
    heads = seen.size // width
    share = heads // kv_heads
    rows, scale = w.qkv[layer], w.qkv_scale[layer]
    first = g * share * width
    multiply(rows, scale, x, joined, first, first + share * width)
    for part in range(2):  # the key, then the value
        at = (heads + part * kv_heads + g) * width
        multiply(rows, scale, x, joined, at, at + width)
    cos, sin = w.cos[place], w.sin[place]
    k = joined[(heads + g) * width : (heads + g + 1) * width]
    turn(k, cos, sin)
    v = (heads + kv_heads + g) * width
    keys[layer, g, place] = k
    values[layer, g, place] = joined[v : v + width]
    for h in range(g * share, (g + 1) * share):
        query = joined[h * width : (h + 1) * width]
        turn(query, cos, sin)
        out = seen[h * width : (h + 1) * width]
        look_back(
            query, keys[layer, g], values[layer, g], place + 1, scores, out
        )


@jit
def add(y, x, first, last):
    """Add y to x for some entries."""
    for i in range(first, last):
        x[i] += y[i]


@jit
def likeliest(logits, first, last):
    """The first of the largest of some logits."""
    best = first
    for i in range(first, last):
        if logits[i] > logits[best]:
            best = i
    return best


@jit
def decode(rank, threads, gate, prompt, ids, eps, w, keys, values, shared):
    """Read the prompt token by token, then write until ids are full.

    Each thread has its own groups of heads and its own rows of each matrix.
    """
    x, seen, bent, logits, best = shared
    width, inner, vocab = x.size, bent.size, logits.size
    n_layers, kv_heads, total = keys.shape[:3]
    y, joined = np.empty(width, x.dtype), np.empty(w.qkv.shape[1], x.dtype)
    wide, scores = np.empty(2 * inner, x.dtype), np.empty(total, x.dtype)
    lo, hi = rank * width // threads, (rank + 1) * width // threads
    left, right = rank * inner // threads, (rank + 1) * inner // threads
    least, most = rank * vocab // threads, (rank + 1) * vocab // threads
    meetings, token = 0, ids[0]
    for place in range(total - 1):
        x[lo:hi] = w.embedding[token, lo:hi]
        meetings = meet(gate, threads, meetings)
        for n in range(n_layers):
            normalise(x, w.before[n], eps, y)
            for g in range(rank, kv_heads, threads):
                group(w, n, g, place, y, keys, values, joined, scores, seen)
            meetings = meet(gate, threads, meetings)
            multiply(w.out[n], w.out_scale[n], seen, y, lo, hi)
            add(y, x, lo, hi)
            meetings = meet(gate, threads, meetings)
            normalise(x, w.between[n], eps, y)
            rows, scale = w.gate_up[n], w.gate_up_scale[n]
            multiply(rows, scale, y, wide, left, right)
            multiply(rows, scale, y, wide, inner + left, inner + right)
            for i in range(left, right):
                s = wide[i]
                bent[i] = s / (one + exp(-s)) * wide[inner + i]
            meetings = meet(gate, threads, meetings)
            multiply(w.down[n], w.down_scale[n], bent, y, lo, hi)
            add(y, x, lo, hi)
            meetings = meet(gate, threads, meetings)
        if place < prompt - 1:
            token = ids[place + 1]
            continue
        normalise(x, w.last, eps, y)
        multiply(w.head, w.head_scale, y, logits, least, most)
        best[rank] = likeliest(logits, least, most)
        meetings = meet(gate, threads, meetings)
        token = best[0]
        for r in range(1, threads):
            if logits[best[r]] > logits[token]:
                token = best[r]
        if rank == 0:
            ids[place + 1] = token


class Weights(NamedTuple):
    """Everything that the loop reads; stacked over layers."""

    qkv: np.ndarray
    qkv_scale: np.ndarray
    out: np.ndarray
    out_scale: np.ndarray
    gate_up: np.ndarray
    gate_up_scale: np.ndarray
    down: np.ndarray
    down_scale: np.ndarray
    head: np.ndarray
    head_scale: np.ndarray
    before: np.ndarray
    between: np.ndarray
    last: np.ndarray
    embedding: np.ndarray
    cos: np.ndarray
    sin: np.ndarray

    @property
    def matrices(self) -> tuple[np.ndarray, ...]:
        """What is read for every token."""
        return self.qkv, self.out, self.gate_up, self.down, self.head


class Compiled:
    """Greedy decoding of one text, compiled whole.

    The weights are copied when it is made; it does not see later changes.
    Sums have another order than PyTorch's, so logits agree to rounding.

    Raises `ValueError` for another batch than 1, for a text that is longer
    than the model can read and for threads below 1.
    """

    def __init__(self, model: Llama, threads: int = 2):
        check_sizes(threads=threads)
        self.model, self.threads = model, threads
        stacked = [
            torch.stack(x)
            for x in zip(*layers(model, neighbours=False), strict=True)
        ]
        before, qkv, out, between, gate_up, down = stacked
        matrices = (qkv, out, gate_up, down, model.head())
        kept = [array for m in matrices for array in self.keep(m)]
        place = torch.arange(model.n_positions)
        angle = angles_at(place, model.config.frequencies())
        rest = before, between, model.model.norm.weight
        rest += model.model.embed_tokens.weight, angle.cos(), angle.sin()
        self.weights = Weights(*kept, *map(plain, rest))

    def keep(self, matrix: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """A matrix as it is read, and the scale of each row."""
        return plain(matrix), np.ones(matrix.shape[:-1], np.float32)

    @property
    def bytes_per_token(self) -> int:
        """What one step reads of the weights."""
        return sum(m.nbytes for m in self.weights.matrices)

    def generate(self, ids: Tensor, new_tokens: int) -> Tensor:
        """Continue one text, (1, length), by its likeliest tokens."""
        check_one(ids, new_tokens, self.model)
        if not new_tokens:
            return ids.clone()
        length = ids.shape[1]
        text = np.empty(length + new_tokens, np.int64)
        text[:length] = ids[0].cpu().numpy()
        run(self.model.config, self.weights, length, text, self.threads)
        return torch.from_numpy(text)[None].to(ids)


def run(config, weights, prompt: int, text: np.ndarray, threads: int) -> None:
    """Fill `text` behind its prompt, on so many threads."""
    kv_heads, width = config.num_key_value_heads, config.head_dim
    shape = config.num_hidden_layers, kv_heads, len(text), width
    keys, values = (np.zeros(shape, np.float32) for _ in range(2))
    sizes = (
        config.hidden_size,
        config.num_attention_heads * width,
        config.intermediate_size,
        config.vocab_size,
    )
    shared = (
        *(np.empty(n, np.float32) for n in sizes),
        np.empty(threads, np.int64),
    )
    gate, eps = np.zeros(1, np.int64), np.float32(config.rms_norm_eps)
    same = threads, gate, prompt, text, eps, weights, keys, values, shared
    if threads == 1:
        decode(0, *same)
        return
    with ThreadPoolExecutor(threads - 1) as others:
        decode_on = [
            others.submit(decode, r, *same) for r in range(1, threads)
        ]
        decode(0, *same)
    for other in decode_on:
        other.result()


def plain(x: Tensor) -> np.ndarray:
    """Numbers as numba reads them."""
    return x.detach().float().cpu().contiguous().numpy()


class CompiledInt8(Compiled):
    """The same with weights of 8 bits and a scale for each row.

    A row is divided by its largest entry and rounded to -127 … 127, so an
    entry is off by at most 1/254 of the largest.
    """

    def keep(self, matrix: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """A matrix as it is read, and the scale of each row."""
        rows = plain(matrix)
        scale = np.abs(rows).max(-1) / np.float32(127)
        scale = np.where(scale == 0, one, scale).astype(np.float32)
        return np.rint(rows / scale[..., None]).astype(np.int8), scale
