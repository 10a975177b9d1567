"""Exact results about the CUDA kernels: traffic and machine code."""

from collections import defaultdict
from pathlib import Path

import pytest

from llmnotes._site import results
from llmnotes.cuda import machine_code
from llmnotes.kernels.flash_attention_cuda import kernels, traffic
from llmnotes.kernels.flash_attention_cuda.tiling import Tiling
from tests.kernels.flash_attention_cuda import kept_builds

CHAPTER = "kernels/flash_attention_cuda"
# n, head_dim, block_q, block_k, causal
COUNTED = [
    (8, 4, 4, 4, False),
    (16, 4, 4, 4, False),
    (16, 4, 8, 4, False),
    (16, 4, 8, 4, True),
    (16, 8, 8, 8, False),
    (19, 4, 8, 4, True),
]


def bench_counted_traffic_equals_the_formulas(record):
    rows = []
    for n, d, block_q, block_k, causal in COUNTED:
        tiling = Tiling(d, block_q, block_k, 4)
        pairs = {
            "naive": (
                traffic.count_naive(n, d, causal),
                (
                    traffic.naive_loads(n, d, causal),
                    traffic.naive_stores(n, d),
                ),
            ),
            "flash": (
                traffic.count_flash(n, tiling, causal),
                (
                    traffic.flash_loads(n, tiling, causal),
                    traffic.flash_stores(n, d),
                ),
            ),
        }
        for method, (counted, formula) in pairs.items():
            assert counted == formula
            blocks = f"{block_q} × {block_k}" if method == "flash" else "none"
            mask = "causal" if causal else "full"
            row = [n, d, blocks, mask, method, *counted, *formula]
            rows += [row] if row not in rows else []
    record(
        "traffic",
        kind="exact",
        title="Every load and store of the kernels is in the closed formula",
        prediction=(
            "Naive loads 4N²d + 3N² and stores 3N² + Nd; flash loads "
            "Nd + 2Nd·N/B_r and stores Nd + N, without any N² term to store."
        ),
        columns={
            "n": "tokens",
            "d": "",
            "blocks": "",
            "mask": "",
            "method": "",
            "loads": "elements",
            "stores": "elements",
            "formula_loads": "elements",
            "formula_stores": "elements",
        },
        labels={
            "n": "sequence length N",
            "d": "head_dim d",
            "blocks": "B_r × B_c",
            "loads": "loads, counted",
            "stores": "stores, counted",
            "formula_loads": "loads, formula",
            "formula_stores": "stores, formula",
        },
        rows=rows,
    )


def bench_the_formulas_at_full_size(record):
    d, rows = 64, []
    for n in (512, 1024, 2048, 4096, 8192):
        naive = traffic.naive_loads(n, d) + traffic.naive_stores(n, d)
        rows.append([n, "naive", naive, naive / n**2])
        for block_q in (16, 32, 64):
            tiling = Tiling(d, block_q, 16)
            flash = traffic.flash_loads(n, tiling) + traffic.flash_stores(n, d)
            rows.append([n, f"flash, B_r = {block_q}", flash, flash / n**2])
    record(
        "traffic_at_scale",
        kind="exact",
        title="A query tile of 64 rows asks memory 130 times less than naive",
        prediction=(
            "Naive asks for 4d + 6 = 262 elements per score; flash for "
            "2d / B_r = 2 at B_r = 64, since a tile of keys and values is "
            "fetched once for 64 queries."
        ),
        columns={
            "n": "tokens",
            "method": "",
            "requests": "elements",
            "per_score": "elements",
        },
        labels={
            "n": "sequence length N",
            "requests": "loads and stores",
            "per_score": "per score (N²)",
        },
        rows=rows,
    )


@pytest.fixture
def pinned_compiler(request):
    """Skip where another compiler is installed than wrote the results.

    Registers and instructions are the compiler's choice; CI installs the
    one that constraints.txt names. Ranges are tested everywhere.
    """
    if request.config.getoption("--results") == "write":
        return
    rows = results.load(f"{CHAPTER}:compiler")["rows"]
    if rows != [[machine_code.toolchain()]]:
        pytest.skip(f"results come from {rows[0][0]}")


def bench_the_compiler_is_named(record, pinned_compiler):
    record(
        "compiler",
        kind="exact",
        title="The compiler and linker whose machine code is shown",
        prediction="None: other versions give other registers.",
        columns={"wheels": ""},
        rows=[[machine_code.toolchain()]],
    )


@pytest.fixture
def builds(request):
    """Every kernel of the chapter; compiled anew where results are written."""
    option = request.config.getoption
    anew = option("--full", False) or option("--results") != "check"
    return kept_builds.builds(64, anew)


def bench_machine_code(record, pinned_compiler, builds):
    rows = []
    for name, build in builds.items():
        for architecture in machine_code.CHIPS:
            machine = build.machine(architecture)
            blocks, share, limit = build.occupancy(architecture)
            row = [name, architecture, build.threads, machine.registers]
            row += [machine.spill_bytes, build.shared, blocks, share, limit]
            rows.append(row)
    record(
        "machine_code",
        kind="exact",
        title="No kernel spills; registers, not shared memory, limit flash",
        prediction=(
            "A thread of the flash forward holds 16 numbers of O and 8 of S, "
            "far from the 255 registers it may have, so nothing spills. "
            "Shared memory alone would let 3 blocks (sm_80) or 5 (sm_90, "
            "sm_100) live side by side; 256 threads need at most 80 "
            "registers each for 3."
        ),
        columns={
            "kernel": "",
            "architecture": "",
            "threads": "",
            "registers": "",
            "spills": "B",
            "shared": "B",
            "blocks": "",
            "occupancy": "",
            "limit": "",
        },
        labels={
            "threads": "threads per block",
            "registers": "registers per thread",
            "spills": "spilled",
            "shared": "shared memory per block",
            "blocks": "resident blocks",
            "limit": "limited by",
        },
        rows=rows,
    )


@pytest.fixture
def hot_loop(builds):
    """The hottest loop of the flash forward on sm_90, and its source."""
    machine = builds["flash forward"].machine("sm_90")
    source = Path(kernels.__file__).read_text().splitlines()
    return machine_code.hottest_loop(machine.cubin), source


def bench_instructions_per_python_line(record, pinned_compiler, hot_loop):
    loop, source = hot_loop
    kinds = ("FFMA", "LDS", "integer and control")
    lines = defaultdict(list)
    for instruction in loop:
        lines[instruction.line].append(instruction)
    rows = []
    for line, instructions in sorted(lines.items()):
        mix = machine_code.mix(instructions)
        assert sum(mix[k] for k in kinds) == len(instructions)
        rows.append([source[line - 1].strip(), *(mix[k] for k in kinds)])
    whole = machine_code.mix(loop)
    rows.append(["the whole loop", *(whole[k] for k in kinds)])
    record(
        "sass_mix",
        kind="exact",
        title="Two of five instructions in the hottest loop multiply and add",
        prediction=(
            "A thread owns 4 × 4 cells of P V: per step of the sum it needs "
            "4 + 4 numbers from shared memory for 16 multiply-adds."
        ),
        columns={"line": "", "ffma": "", "lds": "", "other": ""},
        labels={
            "line": "Python line",
            "ffma": "FFMA",
            "lds": "LDS",
            "other": "integer and control",
        },
        rows=rows,
    )


def bench_hottest_loop(record, pinned_compiler, hot_loop):
    loop, source = hot_loop
    record(
        "sass",
        kind="exact",
        title="The hottest loop of the flash forward, as the chip reads it",
        prediction="LDS and FFMA, no LD, LDL or LDG.",
        columns={"address": "", "instruction": "", "python": ""},
        labels={"python": "Python line"},
        rows=[
            [
                f"{i.address:04x}",
                " ".join(f"{i.predicate} {i.opcode} {i.operands}".split()),
                source[i.line - 1].strip(),
            ]
            for i in loop
        ],
    )
