"""What training a model takes: memory, waiting, traffic and days, by formula.

    N     = GPUs = data · tensor · stages: ways to cut the batch, each layer,
            and the row of layers
    zero  = ZeRO's stage, among the `data` ranks
    b     = sequences of a micro-batch; m = micro-batches of a step
    peak  = a GPU's floating-point operations per second, mfu = the share of
            them that are the model's while no stage waits: assumed
    2 bytes a number, float32 moments and master weights: 2 + 2 + 12

Each number is a formula of a chapter; nothing here has been run at that size.

Sources
- Rajbhandari et al. 2019, "ZeRO", arXiv 1910.02054, §5, §7 (`states`).
- Narayanan et al. 2021, "Efficient Large-Scale Language Model Training on GPU
  Clusters", arXiv 2104.04473, §2.2, §3.2 (bubble, traffic).
- Korthikanti et al. 2022, "Reducing Activation Recomputation in Large
  Transformer Models", arXiv 2205.05198, §4 (`kept`).
- Kaplan et al. 2020, "Scaling Laws for Neural Language Models", arXiv
  2001.08361, table 1 (6 operations a parameter and token).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from llmnotes.models.llama import config as llama
from llmnotes.models.mistral import config as mistral
from llmnotes.parallel import pipeline, tensor_parallel, zero
from llmnotes.parallel.pipeline.layers import share_out
from llmnotes.transformer import gpt

NUMBER = 2  # bytes of a weight, a gradient, an activation
H100, MFU = 989e12, 0.4


@dataclass(frozen=True)
class Shape:
    """A language model, as far as its size goes."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    inner: int  # f, the width inside the MLP
    vocab: int
    positions: int = 0  # learned ones
    gated: bool = True  # three matrices in the MLP and no biases
    tied: bool = False

    @property
    def norms(self) -> int:
        """Numbers of a layer that no rank can do without."""
        return (2 if self.gated else 4) * self.hidden

    @property
    def block(self) -> int:
        """Numbers of a layer."""
        h, f = self.hidden, self.inner
        kv = h * self.kv_heads // self.heads
        if self.gated:
            return 2 * h * h + 2 * h * kv + 3 * h * f + self.norms
        biases = 2 * h + 2 * kv + f + h
        return 2 * h * h + 2 * h * kv + 2 * h * f + biases + self.norms

    @property
    def embedding(self) -> int:
        """Numbers of the tables at the entrance."""
        return (self.vocab + self.positions) * self.hidden

    @property
    def head(self) -> int:
        """Numbers of the way out, the last norm included."""
        norm = self.hidden if self.gated else 2 * self.hidden
        return norm + (0 if self.tied else self.vocab * self.hidden)

    @property
    def parameters(self) -> int:
        """Numbers of all."""
        return self.layers * self.block + self.embedding + self.head

    @property
    def kept(self) -> Fraction:
        """Bytes that a layer keeps for backward, per token and b = 1.

        Inputs of both norms, of the three products behind them and of the
        projection; queries, keys and values; and what the MLP keeps inside:
        f numbers before and after the activation, or four times f if gated.
        Attention is computed without its matrix, nothing is dropped.
        """
        h, kv = self.hidden, self.hidden * self.kv_heads // self.heads
        inside = (4 if self.gated else 2) * self.inner
        return Fraction(NUMBER * (6 * h + 2 * kv + inside))


def of_llama(config) -> Shape:
    """The shape of a Llama, or of a Mistral."""
    return Shape(
        config.num_hidden_layers, config.hidden_size,
        config.num_attention_heads, config.num_key_value_heads,
        config.intermediate_size, config.vocab_size,
        tied=config.tie_word_embeddings,
    )  # fmt: skip


def of_gpt(config) -> Shape:
    """The shape of a GPT."""
    h, heads = config.n_embd, config.n_head
    return Shape(
        config.n_layer, h, heads, heads, 4 * h, config.vocab_size,
        positions=config.n_positions, gated=False, tied=True,
    )  # fmt: skip


SHAPES = {
    "gpt-2": of_gpt(gpt.GPT_2_SMALL),
    "gpt-2-xl": of_gpt(gpt.GPT_2_XL),
    "gpt-3": of_gpt(gpt.GPTConfig(50257, 2048, 12288, 96, 96)),
    "llama-2-7b": of_llama(llama.LLAMA_2_7B),
    "llama-2-70b": of_llama(llama.LLAMA_2_70B),
    "llama-3-8b": of_llama(llama.LLAMA_3_8B),
    "llama-3-70b": of_llama(llama.LLAMA_3_70B),
    "llama-3.1-405b": of_llama(llama.LLAMA_3_1_405B),
    "mistral-7b": of_llama(mistral.MISTRAL_7B_V0_1),
}


@dataclass(frozen=True)
class Layout:
    """How the GPUs are used."""

    data: int
    tensor: int
    stages: int
    zero: int
    recompute: bool  # of each layer, in backward


@dataclass(frozen=True)
class Plan:
    """One layout's numbers; bytes are those of the fullest rank."""

    layout: Layout
    states: float
    gathered: float  # the largest unit, while ZeRO-3 uses it
    activations: float
    logits: float
    bubble: Fraction  # waiting over work
    traffic: dict[str, float]  # bytes that a rank sends in a step, by kind
    tokens_per_day: float

    @property
    def memory(self) -> float:
        """Bytes of all."""
        return self.states + self.gathered + self.activations + self.logits


def plan(
    shape: Shape, layout: Layout, batch: int, length: int,
    peak: float = H100, mfu: float = MFU,
) -> Plan:  # fmt: skip
    """The numbers of one layout, in micro-batches of one sequence.

    Raises `ValueError` for a batch that `data` does not divide and for heads
    or layers that cannot be cut so.
    """
    check(shape, layout, batch)
    micro = batch // layout.data
    ends = [
        holding(shape, layout, micro, length, stage)
        for stage in {0, layout.stages - 1}
    ]
    bubble = pipeline.bubble(layout.stages, micro)
    speed = layout.data * layout.tensor * layout.stages * peak * mfu
    per_token = operations(shape, length) * (4 / 3 if layout.recompute else 1)
    days = 86400 * speed / per_token / (1 + float(bubble))
    return Plan(
        layout, *max(ends, key=sum), bubble,
        sent(shape, layout, micro, length), days,
    )  # fmt: skip


def holding(
    shape: Shape, layout: Layout, micro: int, length: int, stage: int
) -> tuple[float, float, float, float]:
    """Bytes of states, gathered unit, activations and logits of a stage."""
    t, last = layout.tensor, stage == layout.stages - 1
    own = weights(shape, layout, stage)
    states = zero.memory(own, layout.data, layout.zero)
    unit = max(cut(shape, t), shape.embedding // t if stage == 0 else 0)
    gathered = NUMBER * unit if layout.zero == 3 and layout.data > 1 else 0
    live = pipeline.live(layout.stages, micro, stage, "1f1b")
    layers = share_out(shape.layers, layout.stages)[stage]
    each = float(shape.kept) * length / t
    kept = layers * each * float(live)
    if layout.recompute:  # inputs of all layers, and one layer in full
        entry = NUMBER * length * shape.hidden / t
        kept = layers * entry * float(live) + each
    # 16-bit logits, and their softmax in float32.
    logits = length * shape.vocab * (NUMBER + 4) / t if last else 0.0
    return float(states), float(gathered), kept, logits


def weights(shape: Shape, layout: Layout, stage: int) -> int:
    """Numbers that the ranks of a stage hold, each its part of every layer."""
    t = layout.tensor
    found = share_out(shape.layers, layout.stages)[stage] * cut(shape, t)
    last = stage == layout.stages - 1
    if stage == 0:
        found += shape.embedding // t
    if last:
        found += shape.head // t
    if last and shape.tied and layout.stages > 1:  # a copy of the table
        found += shape.vocab * shape.hidden // t
    return found


def cut(shape: Shape, ranks: int) -> int:
    """A rank's numbers of one layer: norms whole, all else shared out."""
    return (shape.block - shape.norms) // ranks + shape.norms


def sent(
    shape: Shape, layout: Layout, micro: int, length: int
) -> dict[str, float]:
    """Bytes that leave the busiest rank in a step, by kind.

    A layer that is computed again asks for its forward sums again. With the
    sequence cut, a tensor rank sends its part over a stage's boundary; a
    stage in the middle sends both ways.
    """
    layers = share_out(shape.layers, layout.stages)[0]
    size = 1, length, shape.hidden
    own = weights(shape, layout, 0)
    data = zero.traffic(own, layout.data, layout.zero, micro)
    tensor = tensor_parallel.traffic(*size, layout.tensor, layers) * micro
    if layout.recompute:
        tensor = tensor * 3 / 2
    ways = min(layout.stages - 1, 2)  # one at an end, two in the middle
    one_way = pipeline.traffic(*size) / 2
    stages = micro * ways * one_way / layout.tensor
    found = {"data": data, "tensor": tensor, "stages": stages}
    return {kind: NUMBER * float(n) for kind, n in found.items()}


def operations(shape: Shape, length: int) -> float:
    """Floating-point operations per token, forward and backward.

    6 for each number that multiplies, the head's included, and 6 · layers ·
    hidden · length for causal attention: half of the square.
    """
    multiply = shape.layers * shape.block + shape.vocab * shape.hidden
    return 6.0 * multiply + 6.0 * shape.layers * shape.hidden * length


def check(shape: Shape, layout: Layout, batch: int) -> None:
    """Raise `ValueError` for a layout that cannot be."""
    if batch < 1 or batch % layout.data:
        raise ValueError(
            f"batch: got {batch}, expected a multiple of data = {layout.data}"
        )
    if shape.kv_heads % layout.tensor:
        raise ValueError(
            f"tensor: got {layout.tensor}, expected a divisor of "
            f"{shape.kv_heads} heads of keys"
        )
    if not 1 <= layout.stages <= shape.layers:
        raise ValueError(
            f"stages: got {layout.stages}, expected 1 to {shape.layers} layers"
        )


def plans(
    shape: Shape, gpus: int, batch: int, length: int, **assumed: float
) -> list[Plan]:
    """All layouts that can be, the quickest first, then the smallest.

    `assumed` are `peak` and `mfu`. ZeRO-2 and -3 are left out beside a
    pipeline: they would send gradients, or weights, for every micro-batch.

    Raises `ValueError` for numbers below 1, and where no layout can be.
    """
    for name, value in (("gpus", gpus), ("batch", batch), ("length", length)):
        if value < 1:
            raise ValueError(f"{name}: got {value}, expected at least 1")
    found = []
    for layout in layouts(gpus):
        try:
            found.append(plan(shape, layout, batch, length, **assumed))
        except ValueError:
            continue
    if not found:
        raise ValueError(
            f"batch: got {batch} for {gpus} GPUs, expected a batch that some "
            "number of data-parallel ranks divides"
        )
    return sorted(found, key=order)


def order(one: Plan) -> tuple:
    """Quick before slow; then what sends less; then what holds less."""
    sent = sum(one.traffic.values())
    return -round(one.tokens_per_day, -6), sent, one.memory


def layouts(gpus: int) -> Iterator[Layout]:
    """All ways to use so many GPUs; tensor parallelism within eight."""
    for tensor in divisors(gpus):
        for stages in divisors(gpus // tensor):
            data = gpus // tensor // stages
            for stage in (0, 1, 2, 3):
                if stage and data == 1 or stage > 1 and stages > 1:
                    continue
                for recompute in (False, True):
                    if tensor <= 8:
                        yield Layout(data, tensor, stages, stage, recompute)


def divisors(n: int) -> list[int]:
    """The divisors of a number, in order."""
    return [d for d in range(1, n + 1) if n % d == 0]
