"""The chapter's kernels, compiled once for all tests and kept in build/.

Compiling takes twenty seconds and depends on nothing but the kernels' text
and the compiler; a change of either compiles again, and so does `--full`.
"""

import json
from pathlib import Path

from llmnotes import cuda
from llmnotes._site.kept import kept
from llmnotes.cuda import machine_code
from llmnotes.kernels import flash_attention_cuda
from llmnotes.kernels.flash_attention_cuda.builds import (
    Build,
    backward_builds,
    forward_build,
    naive_builds,
)

ROOT = Path(__file__).parents[3]


def sources() -> list[bytes]:
    """The text of everything that the compiler is given or driven by."""
    folders = [Path(p.__file__).parent for p in (cuda, flash_attention_cuda)]
    return [f.read_bytes() for d in folders for f in sorted(d.glob("*.py"))]


def builds(head_dim: int = 64, full: bool = False) -> dict[str, Build]:
    """Every kernel of the chapter by name, in fp16."""
    made = compiled if full else once
    return {name: Build(*build) for name, build in made(head_dim).items()}


def once(head_dim: int) -> dict[str, list]:
    """What `compiled` gave for these sources and this compiler."""
    key = "cuda builds", machine_code.toolchain(), head_dim, sources()
    return json.loads(kept(ROOT, key, lambda: json.dumps(compiled(head_dim))))


def compiled(head_dim: int) -> dict[str, list]:
    """PTX and threads of each kernel."""
    found = {
        **naive_builds(),
        "flash forward": forward_build(head_dim),
        **backward_builds(head_dim),
    }
    return {name: [b.ptx, b.threads] for name, b in found.items()}
