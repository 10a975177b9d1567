"""Files: ours read by gguf, gguf's read by us, and what is refused."""

import os
import struct
from pathlib import Path

import gguf as theirs
import numpy as np
import pytest
import torch

from llmnotes.adaptation.quantization import FORMATS, gguf, quantize
from llmnotes.adaptation.quantization.ggml import BF16, F16, F32, WHOLE
from tests.adaptation.quantization import reference

FACTS = {
    "general.architecture": "test",
    "general.alignment": 32,
    "test.count": 7,
    "test.much": 2**40,
    "test.below": -3,
    "test.far_below": -(2**31),
    "test.rate": 0.375,
    "test.so": True,
    "test.names": ["a", "é", "", "日本"],
    "test.widths": [3, 1, 4],
    "test.none": [],
}
SHAPES = {"one": (256,), "two": (3, 512), "three": (2, 5, 256)}


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def every_tensor():
    """A tensor of each format."""
    kinds = (*WHOLE, *FORMATS)
    return {
        f"{where}.{kind.name()}": kind.encode(draw(*shape))
        for where, shape in SHAPES.items()
        for kind in kinds
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A file of ours that has one of everything."""
    path = tmp_path_factory.mktemp("ours") / "all.gguf"
    gguf.write(path, FACTS, every_tensor())
    return path


def value(field):
    """What gguf's reader has read, as Python has it."""
    found = field.contents()
    return found.tolist() if isinstance(found, np.ndarray) else found


def test_gguf_reads_all_that_we_write(written):
    reader = theirs.GGUFReader(written)
    for name, expected in FACTS.items():
        assert value(reader.fields[name]) == expected, name
    ours = every_tensor()
    assert [t.name for t in reader.tensors] == list(ours)
    for tensor in reader.tensors:
        own = ours[tensor.name]
        assert tuple(tensor.shape[::-1]) == tuple(own.shape)
        raw = np.ascontiguousarray(tensor.data).view(np.uint8)
        assert np.array_equal(raw.ravel(), own.raw.flatten().numpy())
        back = theirs.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(
            back.reshape(own.shape), own.dequantize().numpy()
        )


def test_we_read_all_that_we_write(written):
    found = gguf.read(written)
    assert found.facts == FACTS
    ours = every_tensor()
    assert found.tensors.keys() == ours.keys()
    for name, tensor in found.tensors.items():
        assert type(tensor) is type(ours[name])
        assert torch.equal(tensor.dequantize(), ours[name].dequantize())


def test_we_read_what_gguf_writes(tmp_path):
    path = tmp_path / "theirs.gguf"
    writer = theirs.GGUFWriter(path, "llama")
    writer.add_block_count(3)
    writer.add_token_list(["a", "b"])
    writer.add_float64("test.double", 0.1)
    writer.add_int8("test.small", -5)
    writer.add_uint64("test.large", 2**63)
    writer.add_array("test.list", [1.5, 2.5])
    w = draw(6, 512)
    writer.add_tensor("plain", w.numpy())
    writer.add_tensor("half", w.numpy().astype(np.float16))
    for kind in FORMATS:
        name, number = kind.name(), theirs.GGMLQuantizationType(kind.number)
        nbytes = w.numel() // kind.size * kind.width
        raw = reference.encode(name, w.numpy(), nbytes).reshape(6, -1)
        writer.add_tensor(name, raw, raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = gguf.read(path)
    assert found.facts["general.architecture"] == "llama"
    assert found.facts["llama.block_count"] == 3
    assert found.facts["tokenizer.ggml.tokens"] == ["a", "b"]
    assert found.facts["test.double"] == 0.1
    assert found.facts["test.small"] == -5
    assert found.facts["test.large"] == 2**63
    assert found.facts["test.list"] == [1.5, 2.5]
    assert torch.equal(found.tensors["plain"].dequantize(), w)
    assert torch.equal(found.tensors["half"].dequantize(), w.half().float())
    for kind in FORMATS:
        own = quantize(w, kind.name())
        assert torch.equal(found.tensors[kind.name()].raw, own.raw)
        assert found.tensors[kind.name()].shape == w.shape


def test_another_alignment_is_followed(tmp_path):
    path = tmp_path / "wide.gguf"
    writer = theirs.GGUFWriter(path, "llama")
    writer.add_custom_alignment(256)
    for n in range(3):
        writer.add_tensor(f"t{n}", np.full((2, 5), n, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    for n in range(3):
        tensor = gguf.read(path).tensors[f"t{n}"].dequantize()
        assert torch.equal(tensor, torch.full((2, 5), float(n)))


def test_an_empty_file_of_facts_and_no_tensors(tmp_path):
    gguf.write(tmp_path / "none.gguf", {}, {})
    assert gguf.read(tmp_path / "none.gguf") == ({}, {})
    assert (tmp_path / "none.gguf").read_bytes()[:8] == b"GGUF\3\0\0\0"


@pytest.mark.parametrize("share", [0, 0.01, 0.05, 0.2, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_refused(share, written, tmp_path):
    path, whole = tmp_path / "cut.gguf", written.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError) as error:
        gguf.read(path)
    assert str(error.value).startswith(f"{path}: got ")
    assert "it was cut short, or is damaged" in str(error.value)


def test_every_cut_of_the_front_is_named(tmp_path):
    path = tmp_path / "small.gguf"
    tensors = {"t": F32.encode(torch.ones(1, 1))}
    gguf.write(path, {"a": "b", "c": [1, 2]}, tensors)
    whole = path.read_bytes()
    for size in range(len(whole) - 28):  # the last bytes are padding
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="cut short"):
            gguf.read(path)


def patched(tmp_path, changes, facts=None):
    """A file with other bytes at some places."""
    path = tmp_path / "patched.gguf"
    tensors = {"t": F32.encode(torch.ones(2, 3)), "u": F16.encode(draw(4))}
    gguf.write(path, facts or {}, tensors)
    raw = bytearray(path.read_bytes())
    for at, new in changes.items():
        raw[at : at + len(new)] = new
    path.write_bytes(raw)
    return path


# The front: 24 bytes, then 8 + 1 of a name, 4 of axes, 8 of each, 4, 8.
AXES, FIRST, NUMBER, PLACE, NEXT = 33, 37, 53, 57, 65
DAMAGED = {
    "got b'FUGG' at the front, expected b'GGUF'": {0: b"FUGG"},
    "got version 1, expected 3": {4: struct.pack("<I", 1)},
    "got version 50331648, expected 3": {4: struct.pack(">I", 3)},
    "t: got format 99, expected one of 0 f32, 1 f16, 30 bf16, 2 q4_0": (
        {NUMBER: struct.pack("<I", 99)}
    ),
    "t: got format 16, expected one of 0 f32": (
        {NUMBER: struct.pack("<I", 16)}
    ),
    "t: got shape (2, 3), expected rows of blocks of 32": (
        {NUMBER: struct.pack("<I", 2)}
    ),
    "t: got shape (0, 3), expected rows of blocks of 1": (
        {FIRST + 8: struct.pack("<Q", 0)}
    ),
    "t: got 5 axes, expected 1 to 4": {AXES: struct.pack("<I", 5)},
    "t: got 0 axes, expected 1 to 4": {AXES: struct.pack("<I", 0)},
    "got 192 bytes, expected at least 4248: it was cut short, or is": (
        {PLACE: struct.pack("<Q", 4096)}
    ),
    "got two tensors of one name": {NEXT + 8: b"t"},
    "got a word that is not UTF-8": {NEXT + 8: b"\xff"},
}


@pytest.mark.parametrize(("message", "changes"), DAMAGED.items())
def test_what_is_wrong_with_a_file_is_named(message, changes, tmp_path):
    path = patched(tmp_path, changes)
    with pytest.raises(ValueError) as error:
        gguf.read(path)
    assert str(error.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("size", [2**62, 2**64 - 1])
def test_absurd_sizes_are_refused_without_memory(size, tmp_path):
    path = patched(tmp_path, {FIRST: struct.pack("<Q", size)})
    with pytest.raises(ValueError, match="it was cut short, or is damaged"):
        gguf.read(path)
    path = patched(tmp_path, {8: struct.pack("<Q", size)})
    with pytest.raises(ValueError):
        gguf.read(path)


def test_facts_of_unknown_types_are_refused(tmp_path):
    # The name "a" ends at 24 + 8 + 1; then comes the type.
    path = patched(tmp_path, {33: struct.pack("<I", 77)}, {"a": 5})
    with pytest.raises(ValueError, match="got a fact of type 77, expected 0"):
        gguf.read(path)
    path = patched(tmp_path, {37: struct.pack("<I", 9)}, {"a": [5]})
    with pytest.raises(ValueError, match="got a list of type 9, expected 0"):
        gguf.read(path)
    # The name ends at 24 + 8 + 17; ours would not be written.
    path = patched(tmp_path, {40: b"a"}, {"general.Alignment": "wide"})
    with pytest.raises(ValueError, match="alignment: got 'wide', expected 32"):
        gguf.read(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="none.gguf: cannot be read: No such"):
        gguf.read(tmp_path / "none.gguf")


UNWRITABLE = {
    "a: got None, expected a number, a word, a truth or a list": None,
    "a: got {'b': 1}, expected a number, a word": {"b": 1},
    "a: got 18446744073709551616, expected a number": 2**64,
    "a: got values of 2 types in a list": [1, "b"],
    "a: got a list of lists, expected a flat one": [[1], [2]],
}


@pytest.mark.parametrize("found", ["wide", 0, -32, 2.0, True])
def test_an_alignment_that_is_none_is_not_written(found, tmp_path):
    with pytest.raises(ValueError, match="general.alignment: got .*expected"):
        gguf.write(tmp_path / "x", {"general.alignment": found}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", [8, 64, 128])
def test_tensors_lie_where_the_alignment_says(to, tmp_path):
    path, tensors = tmp_path / "x.gguf", every_tensor()
    gguf.write(path, {"general.alignment": to}, tensors)
    found = gguf.read(path).tensors
    for name, x in tensors.items():
        assert torch.equal(found[name].raw, x.raw)
    for tensor in theirs.GGUFReader(path).tensors:
        assert np.array_equal(
            tensor.data.view(np.uint8).ravel(),
            tensors[tensor.name].raw.numpy().ravel(),
        )


def test_a_float_beyond_32_bits_takes_64(tmp_path):
    path = tmp_path / "x.gguf"
    facts = {"a": 1e300, "b": 0.5, "c": float("inf")}
    gguf.write(path, facts, {})
    assert gguf.read(path).facts == facts


def test_tensors_of_five_axes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="t: got 5 axes, expected 1 to 4"):
        gguf.write(tmp_path / "x", {}, {"t": F32.encode(draw(1, 1, 1, 1, 2))})
    assert not list(tmp_path.iterdir())


def test_tensors_that_overlap_do_not_fill_the_memory(tmp_path):
    """Each lies in the file, and together they are many times as large."""
    path = tmp_path / "x.gguf"
    count = 200
    tensors = {f"t{i:03}": F32.encode(draw(1)) for i in range(count)}
    tensors["t000"] = F32.encode(draw(1000))
    gguf.write(path, {}, tensors)
    raw = path.read_bytes()
    for i in range(1, count):  # all of them are the first
        name = f"t{i:03}".encode()
        at = raw.index(name) + 4
        info = struct.pack("<IQIQ", 1, 1000, 0, 0)
        raw = raw[:at] + info + raw[at + len(info) :]
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="for all tensors: it was cut short"):
        gguf.read(path)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_only_files_are_replaced(make, tmp_path):
    path = tmp_path / "x.gguf"
    make(path)
    with pytest.raises(ValueError, match="x.gguf: is no file, expected one"):
        gguf.write(path, {}, {})
    assert not path.is_file() and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("message", "fact"), UNWRITABLE.items())
def test_what_no_file_can_say_is_refused_and_nothing_is_left(
    message, fact, tmp_path
):
    with pytest.raises(ValueError) as error:
        gguf.write(tmp_path / "x.gguf", {"a": fact}, {})
    assert str(error.value).startswith(message)
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "kept.gguf"
    gguf.write(path, {"a": 1}, {})
    with pytest.raises(ValueError):
        gguf.write(path, {"a": object()}, {})
    assert gguf.read(path).facts == {"a": 1}
    gguf.write(path, {"a": 2}, {"t": BF16.encode(draw(3))})
    assert gguf.read(path).facts == {"a": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["kept.gguf"]
