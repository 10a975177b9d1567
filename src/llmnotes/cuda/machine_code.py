"""What a chip would run: link a kernel without a GPU and read the result.

    cubin     = machine code for one architecture, such as "sm_90"
    SASS      = its instructions
    spill     = a register that had to move to memory
    occupancy = resident warps per multiprocessor / the most it can hold

The compiler (NVVM), the linker (nvJitLink) and the disassembler (nvdisasm)
come as wheels with llmnotes[cuda]; none of them asks for a driver.

Sources
- NVIDIA, CUDA C++ Programming Guide, table "Technical Specifications per
  Compute Capability".
- NVIDIA, CUDA Binary Utilities, nvdisasm.
"""

import collections
import dataclasses
import functools
import re
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path

WHEELS = ("numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink")


@dataclasses.dataclass(frozen=True)
class Chip:
    """What one multiprocessor has to share out."""

    warps: int
    blocks: int
    registers: int = 64 * 1024
    shared: int = 227 * 1024
    reserved: int = 1024  # shared memory the driver keeps, per block


CHIPS = {
    "sm_80": Chip(warps=64, blocks=32, shared=164 * 1024),
    "sm_90": Chip(warps=64, blocks=32, shared=228 * 1024),
    "sm_100": Chip(warps=64, blocks=32, shared=228 * 1024),
}


@dataclasses.dataclass(frozen=True)
class Machine:
    """A linked kernel: its code and what it needs."""

    cubin: bytes
    registers: int
    spill_bytes: int
    stack_bytes: int


@functools.cache
def link(ptx: str, architecture: str) -> Machine:
    """Turn PTX into machine code with nvJitLink and read its log.

    Raises `RuntimeError` with the linker's own words.
    """
    from cuda.bindings import nvjitlink

    code = ptx.encode()
    handle = nvjitlink.create(3, [f"-arch={architecture}", "-verbose", "-O3"])
    try:
        nvjitlink.add_data(
            handle, nvjitlink.InputType.PTX, code, len(code), "kernel"
        )
        nvjitlink.complete(handle)
        cubin = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, cubin)
        log = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, log)
    except nvjitlink.nvJitLinkError as error:
        log = bytearray(nvjitlink.get_error_log_size(handle))
        nvjitlink.get_error_log(handle, log)
        raise RuntimeError(f"{architecture}: {log.decode()}") from error
    finally:
        nvjitlink.destroy(handle)
    return Machine(bytes(cubin), *needs(log.decode()))


def needs(log: str) -> tuple[int, int, int]:
    """Registers per thread, spilled bytes and stack bytes from a link log."""

    def number(pattern):
        return int(re.search(pattern, log).group(1))

    spills = number(r"(\d+) bytes spill stores")
    spills += number(r"(\d+) bytes spill loads")
    return (
        number(r"Used (\d+) registers"),
        spills,
        number(r"(\d+) bytes stack frame"),
    )


def shared_bytes(ptx: str) -> int:
    """Shared memory a kernel declares, in bytes."""
    sizes = re.findall(r"\.shared \.align \d+ \.b8 \w+\[(\d+)\]", ptx)
    return sum(map(int, sizes))


def occupancy(chip: Chip, registers: int, shared: int, threads: int):
    """Resident blocks, share of the warps, and the resource that runs out.

    Registers are given to warps in units of 256 from four equal banks,
    shared memory to blocks in units of 128 bytes, by NVIDIA's
    CUDA C++ Programming Guide.
    """
    warps = -(-threads // 32)
    per_warp = -(-registers * 32 // 256) * 256
    per_block = -(-(shared + chip.reserved) // 128) * 128
    limits = {
        "registers": chip.registers // 4 // per_warp * 4 // warps,
        "shared memory": chip.shared // per_block,
        "warps": chip.warps // warps,
        "blocks": chip.blocks,
    }
    limit = min(limits, key=limits.get)
    return limits[limit], limits[limit] * warps / chip.warps, limit


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One SASS instruction and the Python line it comes from."""

    address: int
    line: int
    predicate: str
    opcode: str
    operands: str

    @property
    def kind(self) -> str:
        """What sort of work it is."""
        name = self.opcode.split(".")[0]
        if name in KINDS:
            return KINDS[name]
        return "float" if name[0] == "F" else "integer and control"


KINDS = {
    "FFMA": "FFMA",
    "LDS": "LDS",
    "STS": "shared store",
    "LDG": "global load",
    "STG": "global store",
    "LD": "generic load",
    "ST": "generic store",
    "LDL": "local load",
    "STL": "local store",
    "MUFU": "float",
    "FLO": "integer and control",
}


@functools.cache
def disassemble(cubin: bytes) -> tuple[tuple[Instruction, ...], dict]:
    """Instructions of the kernel itself, and the address of each label."""
    from cuda.pathfinder import find_nvidia_binary_utility

    tool = find_nvidia_binary_utility("nvdisasm")
    if tool is None:
        raise RuntimeError(
            'nvdisasm is missing; install it with pip install "llmnotes[cuda]"'
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        text = subprocess.run(
            [tool, "--print-code", "--print-line-info", path],
            capture_output=True,
            check=True,
        ).stdout.decode(errors="replace")
    sections = re.split(r"^\s*\.section\s+\.text", text, flags=re.MULTILINE)
    return parse_sass(max(sections, key=len))


def parse_sass(text: str) -> tuple[tuple[Instruction, ...], dict]:
    """Read nvdisasm's listing of one function."""
    instructions, labels, waiting, line = [], {}, [], 0
    for row in text.splitlines():
        if mark := re.search(r'//## File ".*", line (\d+)', row):
            line = int(mark.group(1))
        elif mark := re.match(r"\s*(\.L_x_\d+):", row):
            waiting.append(mark.group(1))
        elif mark := SASS.match(row):
            address, predicate, opcode, operands = mark.groups()
            address = int(address, 16)
            labels.update(dict.fromkeys(waiting, address))
            waiting = []
            instructions.append(
                Instruction(
                    address, line, predicate or "", opcode, operands.strip()
                )
            )
    return tuple(instructions), labels


SASS = re.compile(
    r"\s*/\*([0-9a-f]{4,})\*/\s+(@!?U?P\d+)?\s*([A-Z][A-Z0-9_.]*)([^;]*);"
)


def inner_loops(cubin: bytes) -> list[tuple[Instruction, ...]]:
    """Loops that contain no other loop, in the order of the code."""
    instructions, labels = disassemble(cubin)
    spans = set()
    for jump in instructions:
        target = re.search(r"\.L_x_\d+", jump.operands)
        if jump.opcode.startswith("BRA") and target:
            start = labels.get(target.group(), jump.address)
            # The endless loop after a kernel's end jumps to itself.
            if start < jump.address:
                spans.add((start, jump.address))
    return [
        tuple(i for i in instructions if start <= i.address <= end)
        for start, end in sorted(spans)
        if not any(
            (start, end) != (s, e) and start <= s and e <= end
            for s, e in spans
        )
    ]


def hottest_loop(cubin: bytes) -> tuple[Instruction, ...]:
    """The inner loop with the most multiply-adds."""
    return max(inner_loops(cubin), key=lambda loop: mix(loop)["FFMA"])


def mix(instructions) -> collections.Counter:
    """How many instructions of each kind."""
    return collections.Counter(i.kind for i in instructions)


def toolchain() -> str:
    """The versions that decide what comes out, in one line."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in WHEELS)


def found_in_wheels() -> dict[str, bool]:
    """Whether NVVM and nvJitLink come from wheels, not from the system."""
    from cuda.pathfinder import load_nvidia_dynamic_lib

    return {
        name: load_nvidia_dynamic_lib(name).found_via == "site-packages"
        for name in ("nvvm", "nvJitLink")
    }
