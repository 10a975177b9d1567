"""What the FlashAttention chapter computes and measures."""

import functools
import math
from itertools import product

import pytest
import torch

from llmnotes.kernels.flash_attention import cpu, reference, traffic
from llmnotes.transformer.attention import attention

HEADS, HEAD_DIM = 8, 64


def bench_online_softmax_step_by_step(record):
    s = torch.tensor([[2.0, 0.0, 5.0, 1.0, 4.0, 6.0]], dtype=torch.float64)
    v = torch.tensor([[8.0], [4.0], [1.0], [3.0], [2.0], [5.0]])
    v = v.double()
    seen = torch.ones(1, 2, dtype=torch.bool)
    m = torch.full((1, 1), -torch.inf, dtype=torch.float64)
    ell, acc, rows = torch.zeros_like(m), torch.zeros_like(m), []
    for block, columns in enumerate(reference.blocks(6, 2)):
        old = m
        m, ell, acc = reference.online_softmax(
            m, ell, acc, s[:, columns], v[columns], seen
        )
        shrink = torch.exp(old - m)
        whole = s[:, : columns.stop].softmax(-1) @ v[: columns.stop]
        state = [x.item() for x in (m, shrink, ell, acc, acc / ell, whole)]
        scores = ", ".join(f"{x:g}" for x in s[0, columns])
        rows.append((block + 1, scores, *state))
    record(
        "online",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="One row of six scores, two at a time",
        prediction=(
            "After every block the running output equals the softmax over "
            "all scores seen so far. The maximum grows in every block, so "
            "every block but the first shrinks what was summed before it."
        ),
        columns={
            "block": "",
            "scores": "",
            "m": "",
            "shrink": "",
            "ell": "",
            "acc": "",
            "output": "",
            "softmax": "",
        },
        labels={
            "m": "maximum m",
            "shrink": "shrink factor",
            "ell": "sum ℓ",
            "acc": "accumulator Õ",
            "output": "Õ/ℓ",
            "softmax": "softmax at once",
        },
        rows=rows,
    )


def bench_causal_tiles(record):
    n, size = 20, 4
    rows = []
    tiles = product(reference.blocks(n, size), reference.blocks(n, size))
    like = torch.zeros(1)
    for queries, keys in tiles:
        seen = reference.visible(queries, keys, True, like).double().mean()
        work = 0 if reference.skipped(queries, keys, True) else seen.item()
        rows.append((queries.start // size, keys.start // size, work))
    record(
        "tiles",
        kind="exact",
        seed=None,
        title="Share of each tile that a causal mask leaves visible",
        prediction=(
            "Of 25 tiles the 10 above the diagonal are skipped, the 10 below "
            "are full, and of each of the 5 on the diagonal 10 of 16 pairs "
            "are visible: 0.625."
        ),
        columns={"query_block": "", "key_block": "", "visible": ""},
        rows=rows,
    )


def bench_traffic_against_fast_memory(record):
    n, d = 1024, 64
    standard = traffic.paper_standard(n, d)
    rows = []
    for memory in (4096, 8192, 12_288, 16_384, 25_600, 32_768, 49_152, 65_536):
        key_blocks = math.ceil(n / math.ceil(memory / (4 * d)))
        flash = traffic.paper_flash(n, d, memory)
        bound = n * n * d * d / memory
        rows.append(
            [memory, key_blocks, standard, flash]
            + [standard / flash, flash / bound]
        )
    record(
        "traffic_vs_memory",
        kind="exact",
        title="With little fast memory FlashAttention-1 moves more, not less",
        prediction=(
            "Algorithm 1 makes T_c = 4dN/M passes over Q and O, so accesses "
            "follow N²d²/M: about 12 times that. Against 4N² + 4Nd it "
            "starts to win where 12N²d²/M < 4N², that is M > 3d² = 12,288."
        ),
        columns={
            "memory": "elements",
            "key_blocks": "",
            "standard": "elements",
            "flash": "elements",
            "gain": "",
            "over_bound": "",
        },
        labels={
            "memory": "fast memory M",
            "key_blocks": "key blocks T_c",
            "standard": "standard attention",
            "flash": "FlashAttention-1",
            "gain": "standard / flash",
            "over_bound": "flash / (N²d²/M)",
        },
        rows=rows,
    )


@pytest.mark.timing
def bench_memory_grows_with_the_length(record, peak_memory):
    torch.set_num_threads(2)
    methods = {"naive": attention, "flash": cpu.flash_attention}
    lengths = (1024, 2048, 4096, 8192)
    rows = []
    for name, method in methods.items():
        method(*torch.randn(3, 1, HEADS, 64, HEAD_DIM), causal=True)
        needed = {}
        for n in lengths:
            qkv = torch.randn(3, 1, HEADS, n, HEAD_DIM)
            call = functools.partial(method, *qkv, causal=True)
            needed[n] = min(peak_memory(call) for _ in range(3))
            output = HEADS * HEAD_DIM * 4 * n
            slope = (
                math.log2(needed[n] / needed[n // 2])
                if n // 2 in needed
                else None
            )
            rows.append((name, n, needed[n], output, slope))
    record(
        "memory",
        kind="timing",
        seed=None,
        title="Memory needed above the inputs, 8 heads of 64, causal, float32",
        prediction=(
            "Naive holds two to four N × N matrices per head at its peak: at "
            "N = 8192 one of them, for 8 heads, is 2.1 GB, and every doubling "
            "of N makes it 4 times as much (slope 2). Flash needs its output, "
            "2048 bytes per token, 32 bytes of logsumexp, and tiles whose "
            "size does not depend on N: slope 1."
        ),
        columns={
            "method": "",
            "n": "tokens",
            "bytes": "B",
            "output": "B",
            "slope": "",
        },
        labels={
            "n": "sequence length N",
            "bytes": "peak memory",
            "output": "the output itself",
            "slope": "growth per doubling, as a power of N",
        },
        rows=rows,
    )
