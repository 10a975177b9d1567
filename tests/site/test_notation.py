"""The dictionary of axes is that of the code: no name more, none less."""

import ast
import re

import jaxtyping
import pytest

from llmnotes._site import imports
from tests.site.conftest import ROOT

AXES = re.compile(r"^## Axes\n(.*?)^## ", re.M | re.S)
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \|", re.M)
SIGNS = "*#?"  # of jaxtyping, in front of a name


def axes(text):
    """Return the names of axes in the annotations of a module."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Subscript) and _is_shape(node):
            words = node.slice.elts[1].value.split()
            found |= {word.lstrip(SIGNS) for word in words}
    return {name for name in found - {"_"} if name.isidentifier()}


def _is_shape(node):
    """Whether it is, say, Float[Tensor, "a b"]."""
    kind = ast.unparse(node.value).removeprefix("jaxtyping.")
    parts = getattr(node.slice, "elts", [])
    return (
        hasattr(jaxtyping, kind)
        and len(parts) == 2
        and isinstance(parts[1], ast.Constant)
    )


@pytest.fixture(scope="module")
def used():
    """{axis: modules} of the whole book."""
    found = {}
    for path in imports.python_files(ROOT / imports.CODE):
        for name in axes(path.read_text(encoding="utf-8")):
            module = imports.module_name(path, ROOT)
            found.setdefault(name, []).append(module)
    return found


@pytest.fixture(scope="module")
def listed():
    """[(axis, meaning)] as the page has them."""
    text = (ROOT / "docs/notation.md").read_text(encoding="utf-8")
    return ROW.findall(AXES.search(text)[1])


def test_every_axis_of_the_code_is_in_the_dictionary(used, listed):
    missing = used.keys() - {name for name, _ in listed}
    assert not missing, {name: used[name] for name in missing}


def test_every_axis_of_the_dictionary_is_in_the_code(used, listed):
    assert {name for name, _ in listed} - used.keys() == set()


def test_an_axis_has_one_entry_and_a_meaning_of_its_own(listed):
    names, meanings = zip(*listed, strict=True)
    assert len(set(names)) == len(names)
    assert len(set(meanings)) == len(meanings)


def test_names_are_read_from_shapes_and_from_nothing_else():
    text = """
import jaxtyping
def f(
    x: Float[Tensor, "*batch #length 3 d_model ..."],
    y: tuple[Int[Tensor, "rows _"], dict[str, "no_axis"]],
) -> jaxtyping.Bool[Tensor, ""]:
    z: Float[np.ndarray, "inside"] = rearrange(x, "einops words")
"""
    assert axes(text) == {"batch", "length", "d_model", "rows", "inside"}
