"""What needs numba-cuda is known without running it, or importing it."""

import importlib.util

import pytest

from tests import without_cuda


@pytest.fixture
def tree(tmp_path):
    """A package whose `launch` needs the target, once it is called."""
    files = {
        "src/llmnotes/cuda/launch.py": "def go():\n    from numba import cuda",
        "src/llmnotes/kernels/far.py": "from llmnotes.cuda import launch",
        "src/llmnotes/kernels/near.py": "import numba",
        "tests/kernels/test_far.py": "from llmnotes.kernels import far",
        "tests/kernels/test_near.py": "from llmnotes.kernels import near",
        "tests/kernels/helper.py": "import numba.cuda",
        "tests/kernels/test_helped.py": "from tests.kernels.helper import x",
        "docs/shown.md": '```python\n--8<-- "llmnotes.kernels.far:f"\n```\n',
        "docs/tab.md": "\n    ```python\n    import numba.cuda\n    ```\n",
        "docs/named.md": "See `llmnotes.kernels.far`.\n\n```python\n1\n```\n",
    }
    for path, text in files.items():
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return tmp_path


def test_whatever_leads_to_the_target_needs_it_and_nothing_else(tree):
    needing = [p.relative_to(tree) for p in without_cuda.needing(tree)]
    assert [p.as_posix() for p in needing] == [
        "tests/kernels/helper.py",
        "tests/kernels/test_far.py",
        "tests/kernels/test_helped.py",
        "docs/shown.md",
        "docs/tab.md",
    ]


def test_where_it_is_missing_files_are_left_out_and_listed(monkeypatch, tree):
    monkeypatch.setattr(without_cuda, "ROOT", tree)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    without_cuda.left_out.cache_clear()
    try:
        far, near = (
            tree / f"tests/kernels/test_{n}.py" for n in ("far", "near")
        )
        assert without_cuda.pytest_ignore_collect(far) is True
        assert without_cuda.pytest_ignore_collect(near) is None
        header = without_cuda.pytest_report_header()
        assert "tests/kernels/test_far.py" in header
        assert "docs/shown.md" in header and "named" not in header
    finally:
        without_cuda.left_out.cache_clear()


def test_of_the_book_the_cuda_page_and_its_tests_need_it_but_not_the_cpu():
    needing = {p.name for p in without_cuda.needing(without_cuda.ROOT)}
    assert {
        "test_launch.py",
        "simulator.py",
        "flash_attention_cuda.md",
    } <= needing
    assert not {"test_attention_speed.py", "test_tiles.py"} & needing
    pages = {"attention_speed.md", "flash_attention.md", "attention.md"}
    assert not pages & needing
