"""What the reader of foreign checkpoints claims; all ways to spoil one."""

import ast
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from llmnotes import foreign

CONFIG, WEIGHTS, INDEX = foreign.CONFIG, foreign.WEIGHTS, foreign.INDEX
ONE, TWO = (f"model-0000{i}-of-00002.safetensors" for i in (1, 2))
ASSUMED = {"model_type": ("pair",), "act": ("relu", "relu_new")}
GIVEN = {"model_type": "pair", "width": 3, "drop": 0, "unknown": {"a": 1}}
TIED = {"head": "second.weight"}
GLIBC_ASCII = "ANSI_X3.4-1968"


@dataclass(frozen=True)
class PairConfig:
    width: int = 5
    rate: float = 0.1
    window: int | None = None
    bias: bool = True
    scales: tuple[int, ...] = ()

    def __post_init__(self):
        if self.width < 1:
            raise ValueError(f"width: got {self.width}, expected above 0")


class Pair(nn.Module):
    """Two layers, and a buffer of whole numbers."""

    def __init__(self, config):
        super().__init__()
        self.first = nn.Linear(2, config.width)
        self.second = nn.Linear(config.width, 4, bias=False)
        self.register_buffer("count", torch.zeros(1, dtype=torch.int64))


def read_config(folder):
    given = foreign.read_json(folder / CONFIG)
    foreign.require(folder / CONFIG, given, ASSUMED)
    names = {"rate": "drop"}
    return foreign.shape(folder / CONFIG, given, PairConfig, names)


def rename(name):
    return None if name == "mask" else name.removeprefix("pair.")


def load(folder):
    model = Pair(read_config(folder))
    foreign.load(model, folder, rename=rename, tied=TIED)
    return model


def tensors(width=3):
    torch.manual_seed(0)
    return {
        "pair.first.weight": torch.randn(width, 2),
        "pair.first.bias": torch.randn(width),
        "pair.second.weight": torch.randn(4, width),
        "pair.count": torch.tensor([7]),
        "mask": torch.ones(2, 2),
    }


def lay(folder, found=None):
    """A sound checkpoint in one file."""
    foreign.save(folder, GIVEN, tensors() if found is None else found)
    return folder


def lay_shards(folder):
    """The same in two files and an index."""
    found = load_file(lay(folder) / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = list(found)
    for file, some in ((ONE, names[:2]), (TWO, names[2:])):
        save_file({name: found[name] for name in some}, folder / file)
    places = dict.fromkeys(names, TWO) | dict.fromkeys(names[:2], ONE)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / INDEX).write_text(json.dumps(index))
    return folder


def same(model, found):
    own = {f"pair.{name}": t for name, t in model.state_dict().items()}
    assert own.keys() == found.keys() - {"mask"}
    assert all(torch.equal(own[name], found[name]) for name in own)


def test_shards_hold_what_one_file_holds(tmp_path):
    same(load(lay(tmp_path / "one")), tensors())
    same(load(lay_shards(tmp_path / "two")), tensors())


def test_one_file_is_preferred_where_both_are(tmp_path):
    lay_shards(tmp_path)
    other = {name: tensor + 1 for name, tensor in tensors().items()}
    same(load(lay(tmp_path, other)), other)


def test_what_we_save_in_half_precision_is_read_into_the_models_type(tmp_path):
    half = {n: t.half() for n, t in tensors().items() if n != "pair.count"}
    half["pair.count"] = torch.tensor([7], dtype=torch.int32)
    model = load(lay(tmp_path, half))
    assert model.first.weight.dtype == torch.float32
    assert model.count.dtype == torch.int64
    assert torch.equal(model.first.bias.half(), half["pair.first.bias"])


WRAPPED = {
    "compiled": lambda name: f"_orig_mod.{name}",
    "in parallel": lambda name: f"module.{name}",
    "compiled, then in parallel": lambda name: f"module._orig_mod.{name}",
    "in parallel, then compiled": lambda name: f"_orig_mod.module.{name}",
    "a part compiled": lambda name: name.replace("first.", "first._orig_mod."),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_what_was_saved_with_its_wrapper_is_read(wrap, tmp_path):
    lay(tmp_path, {wrap(name): t for name, t in tensors().items()})
    same(load(tmp_path), tensors())


def test_a_weight_with_and_without_its_wrapper_is_there_twice(tmp_path):
    found = tensors()
    found["pair.first._orig_mod.bias"] = found["pair.first.bias"] + 1
    with pytest.raises(ValueError, match="1 twice"):
        load(lay(tmp_path, found))


def test_a_prefix_of_some_names_only_is_no_wrapper(tmp_path):
    found = tensors()
    found["module.pair.first.bias"] = found.pop("pair.first.bias")
    with pytest.raises(ValueError, match="1 missing, 1 unknown"):
        load(lay(tmp_path, found))


def test_a_tied_tensor_may_lie_in_the_file_under_either_name(tmp_path):
    found = tensors()
    found["head"] = found["pair.second.weight"].clone()
    same(load(lay(tmp_path / "both", found)), tensors())
    del found["pair.second.weight"]
    same(load(lay(tmp_path / "other", found)), tensors())


def test_a_model_that_lists_the_tied_tensor_too_takes_it_from_either(tmp_path):
    model = Pair(PairConfig(3))
    model.head = model.second.weight
    assert "head" in model.state_dict()
    foreign.load(model, lay(tmp_path), rename=rename, tied=TIED)
    assert torch.equal(model.head, tensors()["pair.second.weight"])
    assert model.head is model.second.weight


def test_a_config_is_read_by_type_and_the_rest_stays_out(tmp_path):
    lay(tmp_path)
    change(window=8, bias=False, act="relu_new", scales=[1, 2])(tmp_path)
    config = read_config(tmp_path)
    assert config == PairConfig(3, 0.0, 8, False, [1, 2])
    assert type(config.rate) is float  # 0 in the file
    change(window=None)(tmp_path)
    assert read_config(tmp_path).window is None


def test_a_config_in_utf_8_is_read_whatever_the_locale(tmp_path):
    lay(tmp_path)
    text = json.dumps(GIVEN | {"author": "Ωλ"}, ensure_ascii=False)
    (tmp_path / CONFIG).write_bytes(text.encode())
    code = (
        "import locale, pathlib, sys; from llmnotes import foreign\n"
        "given = foreign.read_json(pathlib.Path(sys.argv[1]))\n"
        "print(locale.getencoding(), ascii(given['author']))"
    )
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / CONFIG)],
        capture_output=True,
        text=True,
        env=os.environ | ascii_only,
    )
    assert done.stdout.split() == [GLIBC_ASCII, ascii("Ωλ")], done.stderr


def opens_in_the_locale(call):
    """Whether a call opens text and does not say in which encoding."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    said = {word.arg for word in call.keywords}
    if name in {"read_text", "write_text"}:  # their 1st and 2nd argument
        return len(call.args) < 1 + (name[0] == "w") and "encoding" not in said
    if ast.unparse(call.func) != "open":
        return False
    mode = call.args[1].value if len(call.args) > 1 else "r"
    return "b" not in mode and "encoding" not in said


def test_no_file_of_the_package_is_opened_in_the_locales_encoding():
    found, opened = [], 0
    for path in Path(foreign.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call):
                opened += ast.unparse(node.func).endswith("_text")
                if opens_in_the_locale(node):
                    found.append(f"{path.name}:{node.lineno}")
    assert not found
    assert opened > 20
    wrong = "open(x); p.read_text(); p.write_text(x); open(x, 'w')"
    calls = [expr.value for expr in ast.parse(wrong).body]
    assert all(map(opens_in_the_locale, calls))


# Ways to spoil a checkpoint


def write(file, text):
    return lambda folder: (folder / file).write_bytes(text)


def change(**fields):
    def spoil(folder):
        given = json.loads((folder / CONFIG).read_text()) | fields
        (folder / CONFIG).write_text(json.dumps(given))

    return spoil


def cut(file):
    def spoil(folder):
        (folder / file).write_bytes((folder / file).read_bytes()[:-9])

    return spoil


def remove(file):
    return lambda folder: (folder / file).unlink()


def tensor(name, value=None, file=WEIGHTS):
    """Another tensor in place of one, or none."""

    def spoil(folder):
        found = load_file(folder / file)
        found.pop(name, None)
        if value is not None:
            found[name] = value
        save_file(found, folder / file)

    return spoil


def index(weight_map):
    text = json.dumps({"weight_map": weight_map}).encode()
    return write(INDEX, text)


SPOILED_CONFIGS = [
    (remove(CONFIG), "cannot be read: No such file"),
    (write(CONFIG, b""), "cannot be read: Expecting value"),
    (write(CONFIG, b"{"), "cannot be read: Expecting"),
    (write(CONFIG, b'{"width": 3,'), "cannot be read: Expecting"),
    (write(CONFIG, b"\xff\xfe\xfd"), "cannot be read: 'utf-"),
    (write(CONFIG, b"[" * 100_000), "cannot be read: "),
    (write(CONFIG, b"[]"), "got [], expected a JSON object"),
    (write(CONFIG, b"null"), "got null, expected a JSON object"),
    (write(CONFIG, b'"pair"'), 'got "pair", expected a JSON object'),
    (change(model_type="llama"), "model_type: got 'llama', expected 'pair'"),
    (change(model_type=None), "model_type: got None, expected 'pair'"),
    (change(model_type=["pair"]), "model_type: got ['pair'], expected 'pair'"),
    (change(act="gelu"), "act: got 'gelu', expected 'relu' or 'relu_new'"),
    (change(width=None), "width: got None, expected int"),
    (change(width="3"), "width: got '3', expected int"),
    (change(width=3.0), "width: got 3.0, expected int"),
    (change(width=True), "width: got True, expected int"),
    (change(width=[3]), "width: got [3], expected int"),
    (change(width=0), "width: got 0, expected above 0"),
    (change(drop="0.1"), "drop: got '0.1', expected float"),
    (change(drop=None), "drop: got None, expected float"),
    (change(window="8"), "window: got '8', expected int | None"),
    (change(bias=1), "bias: got 1, expected bool"),
]
SPOILED_WEIGHTS = [
    (remove(WEIGHTS), "cannot be read: No such file"),
    (cut(WEIGHTS), "cannot be read: "),
    (write(WEIGHTS, b""), "cannot be read: "),
    (write(WEIGHTS, b"no tensors in here"), "cannot be read: "),
    (tensor("pair.first.bias"), "missing: first.bias"),
    (tensor("more", torch.ones(1)), "unknown: more"),
    (
        tensor("pair.first.bias", torch.ones(4)),
        "of another shape: first.bias: got shape (4,), expected (3,)",
    ),
    (
        tensor("pair.first.bias", torch.ones(3, dtype=torch.int8)),
        "of another type: first.bias: got torch.int8, expected torch.float32",
    ),
    (
        tensor("pair.count", torch.ones(1)),
        "of another type: count: got torch.float32, expected torch.int64",
    ),
    (tensor("first.bias", torch.ones(3)), "twice: first.bias = pair.first.b"),
    (
        tensor("head", torch.ones(4, 3)),
        "not tied: head: got numbers of its own, expected second.weight",
    ),
    (
        tensor("head", tensors()["pair.second.weight"].double()),
        "not tied: head: got numbers of its own",
    ),
    (tensor("head", torch.ones(2)), "not tied: head: got numbers of its own"),
]
SPOILED_SHARDS = [
    (remove(TWO), TWO, "cannot be read: No such file"),
    (cut(TWO), TWO, "cannot be read: "),
    (
        tensor("pair.second.weight", file=TWO),
        TWO,
        f"lacks what {INDEX} says it holds (1): pair.second.weight",
    ),
    (write(INDEX, b"{"), INDEX, "cannot be read: "),
    (write(INDEX, b"[]"), INDEX, "got [], expected a JSON object"),
    (write(INDEX, b"{}"), INDEX, "weight_map: got None, expected the name of"),
    (index([ONE]), INDEX, "weight_map: got ['model-0"),
    (index({"mask": 1}), INDEX, "weight_map: got {'mask': 1}"),
    (index({"mask": f"../{ONE}"}), INDEX, "weight_map: got {'mask': '../mo"),
    (index({}), INDEX, "4 missing"),
    (remove(INDEX), WEIGHTS, "cannot be read: No such file"),
]


def refused(folder, file, message):
    with pytest.raises(ValueError) as error:
        load(folder)
    assert str(error.value).startswith(f"{folder / file}: ")
    assert message in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("spoil", "message"), SPOILED_CONFIGS)
def test_a_spoiled_config_is_refused_by_name(tmp_path, spoil, message):
    spoil(lay(tmp_path))
    assert "\n" not in refused(tmp_path, CONFIG, message)


@pytest.mark.parametrize(("spoil", "message"), SPOILED_WEIGHTS)
def test_spoiled_weights_are_refused_by_name(tmp_path, spoil, message):
    spoil(lay(tmp_path))
    refused(tmp_path, WEIGHTS, message)


@pytest.mark.parametrize(("spoil", "file", "message"), SPOILED_SHARDS)
def test_spoiled_shards_are_refused_by_name(tmp_path, spoil, file, message):
    spoil(lay_shards(tmp_path))
    refused(tmp_path, file, message)


def test_a_file_where_a_folder_should_be_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("{}")
    with pytest.raises(ValueError, match="file/config.json: cannot be read"):
        load(file)


def test_everything_that_does_not_fit_is_in_one_list(tmp_path):
    found = tensors()
    del found["pair.first.weight"], found["pair.count"]
    found["pair.first.bias"] = torch.ones(5)
    found["head"] = torch.ones(4, 3)
    found |= {f"more.{i}": torch.ones(1) for i in range(11)}
    first, *lines = refused(
        lay(tmp_path, found), WEIGHTS, "tensors that do not fit"
    ).splitlines()
    assert first.endswith(
        "do not fit: 1 not tied, 2 missing, 11 unknown, 1 of another shape"
    )
    not_tied, missing, unknown, shapes = lines
    assert not_tied.startswith("  not tied: head: got numbers of its own")
    assert missing == "  missing: count, first.weight"
    assert shapes == (
        "  of another shape: first.bias: got shape (5,), expected (3,)"
    )
    shown, _, more = unknown.rpartition(", and ")
    assert more == "3 more"
    names = shown.removeprefix("  unknown: ").split(", ")
    assert len(set(names)) == foreign.SHOWN
    assert set(names) < set(found)


def test_a_model_that_is_refused_its_weights_is_left_as_it_was(tmp_path):
    found = tensors()
    del found["pair.second.weight"]  # the last one
    model = Pair(PairConfig(3))
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with pytest.raises(ValueError, match="1 missing"):
        foreign.load(model, lay(tmp_path, found), rename=rename)
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_without_a_renaming_the_names_are_ours(tmp_path):
    model, again = Pair(PairConfig(3)), Pair(PairConfig(3))
    foreign.save(tmp_path, {}, model.state_dict())
    foreign.load(again, tmp_path)
    assert all(map(torch.equal, model.parameters(), again.parameters()))


# What was put around a model before it was saved


PREFIXES = ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("laid", [lay, lay_shards])
def test_names_of_a_compiled_or_parallel_model_are_read(
    tmp_path, monkeypatch, laid, prefix
):
    wrapped = {f"{prefix}{name}": x for name, x in tensors().items()}
    monkeypatch.setitem(globals(), "tensors", lambda: wrapped)
    laid(tmp_path)
    monkeypatch.undo()
    same(load(tmp_path), tensors())


def test_what_torch_writes_around_a_model_is_read(tmp_path):
    for wrap in (torch.compile, nn.DataParallel):
        torch.manual_seed(0)
        model, other = Pair(PairConfig(3)), Pair(PairConfig(3))
        foreign.save(tmp_path, {}, wrap(model).state_dict())
        foreign.load(other, tmp_path)
        assert all(map(torch.equal, model.parameters(), other.parameters()))


def test_a_part_that_was_compiled_is_read(tmp_path):
    found = tensors()
    found["pair.first._orig_mod.bias"] = found.pop("pair.first.bias")
    same(load(lay(tmp_path, found)), tensors())


def test_a_model_may_have_a_part_of_its_own_called_module(tmp_path):
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(2, 3)

    model, other = Outer(), Outer()
    foreign.save(tmp_path, {}, model.state_dict())
    foreign.load(other, tmp_path)
    assert torch.equal(model.module.weight, other.module.weight)


def test_one_name_outside_the_wrapper_is_not_guessed_about(tmp_path):
    found = {f"module.{name}": x for name, x in tensors().items()}
    found["more"] = torch.ones(1)
    refused(lay(tmp_path, found), WEIGHTS, "unknown: module.pair.")


def test_a_name_with_and_without_its_wrapper_is_there_twice(tmp_path):
    found = tensors()
    found["_orig_mod.pair.first.bias"] = torch.ones(3)
    refused(lay(tmp_path, found), WEIGHTS, "twice: _orig_mod.pair.first.b")


def test_a_pickle_is_not_read_and_the_way_out_is_named(tmp_path):
    (lay(tmp_path) / WEIGHTS).rename(tmp_path / "pytorch_model.bin")
    refused(tmp_path, WEIGHTS, "pytorch_model.bin is a pickle, which can run")
