"""The kernels link to machine code for three architectures, without a GPU."""

import pytest

from llmnotes.cuda import machine_code
from llmnotes.cuda.machine_code import CHIPS, Chip
from llmnotes.kernels.flash_attention_cuda import kernels
from llmnotes.kernels.flash_attention_cuda.tiling import (
    SHARED_LIMIT,
    backward_tiling,
    forward_tiling,
)
from tests.kernels.flash_attention_cuda import kept_builds


@pytest.fixture(scope="module")
def builds(request):
    """Every kernel of the chapter at head_dim 64, fp16."""
    return kept_builds.builds(64, request.config.getoption("--full", False))


def test_the_compiler_comes_from_the_wheels():
    found = machine_code.found_in_wheels()
    assert found == {"nvvm": True, "nvJitLink": True}


@pytest.mark.parametrize("architecture", CHIPS)
def test_registers_stay_in_range_and_nothing_spills(builds, architecture):
    for name, build in builds.items():
        machine = build.machine(architecture)
        assert machine.cubin[:4] == b"\x7fELF", name
        assert 24 <= machine.registers <= 160, name
        assert machine.spill_bytes == machine.stack_bytes == 0, name


@pytest.mark.parametrize("architecture", CHIPS)
def test_at_least_a_quarter_of_the_warps_are_resident(builds, architecture):
    for name, build in builds.items():
        blocks, share, _ = build.occupancy(architecture)
        assert blocks >= 2 and share >= 0.25, name


def test_shared_memory_is_what_the_tiles_add_up_to(builds):
    assert builds["flash forward"].shared == forward_tiling(64).forward_shared
    backward = backward_tiling(64)
    assert builds["flash dK, dV"].shared == backward.backward_shared
    one_tile_less = 4 * backward.block_q * (backward.block_k + 1)
    assert (
        builds["flash dQ"].shared == backward.backward_shared - one_tile_less
    )
    assert builds["naive scores"].shared == 0


@pytest.mark.parametrize("head_dim", [1, 5, 16, 33, 64, 80, 96, 128])
def test_the_chosen_tiles_fit_every_gpu(head_dim):
    assert forward_tiling(head_dim).forward_shared <= SHARED_LIMIT
    assert backward_tiling(head_dim).backward_shared <= SHARED_LIMIT


def test_no_kernel_computes_in_float64_or_keeps_cells_in_memory(builds):
    for name, build in builds.items():
        assert ".f64" not in build.ptx, name
        assert ".local" not in build.ptx, name


def test_the_hot_loop_reads_shared_memory_and_multiplies(builds):
    machine = builds["flash forward"].machine("sm_90")
    loop = machine_code.hottest_loop(machine.cubin)
    mix = machine_code.mix(loop)
    assert mix["FFMA"] >= 16
    assert mix["LDS"] <= mix["FFMA"]
    for kind in ("generic load", "local load", "global load"):
        assert mix[kind] == 0
    source = open(kernels.__file__).read().splitlines()
    assert any("left[row, k] * right" in source[i.line - 1] for i in loop)


TOO_LARGE = """
.version 7.0
.target sm_80
.address_size 64
.visible .entry kernel()
{
    .shared .align 4 .b8 tile[65536];
    st.shared.u32 [tile], 1;
    ret;
}
"""


def test_a_kernel_that_does_not_fit_is_refused_by_the_linker():
    assert machine_code.shared_bytes(TOO_LARGE) > SHARED_LIMIT
    with pytest.raises(RuntimeError, match="too much shared data"):
        machine_code.link(TOO_LARGE, "sm_90")


@pytest.mark.parametrize(
    ("registers", "shared", "threads", "expected"),
    [
        (32, 0, 1024, (2, 1.0, "registers")),
        (128, 0, 256, (2, 0.25, "registers")),
        (32, 100_000, 256, (2, 0.25, "shared memory")),
        (16, 0, 32, (32, 0.5, "blocks")),
    ],
)
def test_occupancy_by_hand(registers, shared, threads, expected):
    chip = Chip(warps=64, blocks=32, shared=228 * 1024)
    assert machine_code.occupancy(chip, registers, shared, threads) == expected


LISTING = """\
.text.kernel:
\t//## File "/somewhere/kernel.py", line 7
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_1:
\t//## File "/somewhere/kernel.py", line 9
        /*0010*/                   LDS R2, [R3] ;
        /*0020*/                   FFMA R4, R2, R5, R4 ;
        /*0030*/              @!P0 BRA `(.L_x_1) ;
.L_x_2:
        /*0040*/                   BRA `(.L_x_2);
"""


def test_a_listing_is_read_with_lines_and_labels():
    instructions, labels = machine_code.parse_sass(LISTING)
    assert [i.line for i in instructions] == [7, 9, 9, 9, 9]
    assert labels == {".L_x_1": 0x10, ".L_x_2": 0x40}
    assert instructions[3].predicate == "@!P0"
    assert machine_code.mix(instructions)["FFMA"] == 1
