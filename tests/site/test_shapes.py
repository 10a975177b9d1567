"""Shapes are checked in every part of the book, coming ones too."""

import ast
import importlib
import inspect
import itertools
import os
import subprocess
import sys
import typing

import jaxtyping
import pytest
import torch

from tests import shapes

MODULES = shapes.book_modules(shapes.ROOT)
COMPILED = {name for name, path in MODULES.items() if shapes.compiles(path)}
NEW = """
from jaxtyping import Float
from numpy import ndarray

def add(x: Float[ndarray, "length"], y: Float[ndarray, "length"]):
    return x.shape
"""
PROGRAM = """
import sys
from pathlib import Path
import llmnotes
from tests import shapes

root = Path(sys.argv[1])
llmnotes.__path__.append(str(root / shapes.CODE))
shapes.install(root)
import numpy
from {module} import add
print(add(numpy.ones(2), numpy.ones(3)))
"""


def annotated(tree):
    """Yield the functions of a module whose signature has an axis."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            given = [a.annotation for a in ast.walk(node.args) if _has(a)]
            if any(map(has_axes, [*given, node.returns])):
                yield node


def _has(node):
    return isinstance(node, ast.arg) and node.annotation


def has_axes(annotation):
    return annotation is not None and any(
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and hasattr(jaxtyping, node.value.id)
        for node in ast.walk(annotation)
    )


def test_the_hook_has_seen_every_module_of_the_book():
    loaders = {
        name: type(importlib.import_module(name).__spec__.loader)
        for name in MODULES.keys() - COMPILED
    }
    hooked = {
        name
        for name, loader in loaders.items()
        if loader.__module__.startswith("jaxtyping")
    }
    assert loaders.keys() == hooked


@pytest.mark.parametrize("name", sorted(COMPILED))
def test_what_numba_compiles_has_no_shapes_but_those_its_own_check_reads(name):
    """Without a hook an annotation would be decoration."""
    functions = list(annotated(ast.parse(MODULES[name].read_bytes())))
    module = importlib.import_module(name) if functions else None
    for node in functions:
        function = getattr(module, node.name)
        with pytest.raises(ValueError, match="expected"):
            function(*pairwise_different(function))


def pairwise_different(function):
    """One tensor per argument that has to be given, no two axes equal."""
    sizes = itertools.count(2)
    hints = typing.get_type_hints(inspect.unwrap(function))
    return [
        torch.zeros(*(next(sizes) for _ in hints[parameter.name].dims))
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
    ]


def test_a_package_hands_on_names_and_defines_none():
    """The hook does not look into an `__init__`."""
    packages = sorted((shapes.ROOT / shapes.CODE).rglob("__init__.py"))
    trees = {path: ast.parse(path.read_bytes()) for path in packages}
    assert not [path for path, tree in trees.items() if any(annotated(tree))]


def run(root, module, **environment):
    environment = os.environ | environment
    environment["PYTHONPATH"] = os.pathsep.join(map(str, sys.path))
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module), str(root)],
        cwd=shapes.ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def coming(tmp_path_factory):
    """A part that has just begun, with a folder in it, and compiled code."""
    root = tmp_path_factory.mktemp("coming")
    for name, text in (
        ("imagined/plain.py", NEW),
        ("imagined/dreamt/model.py", NEW),
        ("imagined/dreamt/fast.py", f"from numba import njit\n{NEW}"),
    ):
        place = root / shapes.CODE / name
        place.parent.mkdir(parents=True, exist_ok=True)
        (place.parent / "__init__.py").touch()
        place.write_text(text)
    return root


@pytest.mark.parametrize("module", ["plain", "dreamt.model"])
def test_a_new_part_is_checked_without_being_named_anywhere(coming, module):
    tried = run(coming, f"llmnotes.imagined.{module}", JAXTYPING_DISABLE="0")
    assert tried.returncode == 1
    assert "TypeCheckError" in tried.stderr
    assert "length" in tried.stderr


@pytest.mark.parametrize("module, off", [("plain", "1"), ("dreamt.fast", "0")])
def test_a_race_and_compiled_code_run_without_checks(coming, module, off):
    tried = run(coming, f"llmnotes.imagined.{module}", JAXTYPING_DISABLE=off)
    assert tried.stdout.strip() == "(2,)", tried.stderr


def test_a_module_that_was_imported_before_the_hook_is_named():
    with pytest.raises(RuntimeError, match="was imported before the hook"):
        shapes.install(shapes.ROOT)
