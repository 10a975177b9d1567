"""Checkpoints of Hugging Face and of llm.c, read and written."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file

from llmnotes.transformer.gpt import GPT_2_SMALL
from llmnotes.transformer.gpt2_by_hand import (
    from_gpt,
    initial,
    padded,
    parameter_shapes,
    read_bin,
    read_folder,
    to_gpt,
    write_bin,
    write_folder,
)
from tests.transformer.gpt2_by_hand import tiny
from tests.transformer.gpt2_by_hand.tiny import TINY

NUMBERS = 11 * 12 + 7 * 12 + 2 * (12 * 12**2 + 13 * 12) + 2 * 12


def weights(rows=None):
    return from_gpt(tiny.scattered().float(), rows)


def test_a_gpt_goes_there_and_back_with_the_same_bits():
    model = tiny.scattered()
    back = to_gpt(TINY, from_gpt(model, 16, np.float64))
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_a_layer_computes_what_its_conv1d_does():
    """Theirs is (inputs, outputs), ours (outputs, inputs)."""
    model = tiny.scattered().float()
    x = torch.randn(1, 5, 12)
    layer = model.transformer.h[1].attn.c_proj
    ours = from_gpt(model)
    found = x.numpy() @ ours["attprojw"][1].T + ours["attprojb"][1]
    assert np.allclose(found, layer(x).detach(), atol=1e-6)


def test_hugging_face_reads_what_we_write(tmp_path):
    ours = weights(padded(11))
    write_folder(tmp_path, TINY, ours)
    known = json.loads((tmp_path / "config.json").read_text())
    theirs = hf.GPT2LMHeadModel(hf.GPT2Config(**known)).eval()
    found = load_file(tmp_path / "model.safetensors")
    lost, unknown = theirs.load_state_dict(found, strict=False)
    assert lost == ["lm_head.weight"] and not unknown  # tied to wte
    ids = torch.from_numpy(tiny.ids()[0]).long()
    logits = to_gpt(TINY, ours)(ids)
    torch.testing.assert_close(theirs(ids).logits, logits)
    config, back = read_folder(tmp_path, padded(11))
    assert config == TINY and np.array_equal(back.numbers, ours.numbers)


def test_their_dropout_is_left_out(tmp_path):
    write_folder(tmp_path, TINY, weights())
    path = tmp_path / "config.json"
    known = json.loads(path.read_text())
    drops = dict.fromkeys(("resid_pdrop", "attn_pdrop", "embd_pdrop"), 0.1)
    path.write_text(json.dumps(known | drops))
    assert read_folder(tmp_path)[0].dropout == 0.0


def test_a_bin_is_llm_cs_byte_for_byte(tmp_path):
    """Taken apart as its train_gpt2.py writes it: header, then tensors."""
    ours, path = weights(), tmp_path / "model.bin"
    write_bin(path, TINY, ours)
    found = path.read_bytes()
    header = np.frombuffer(found[:1024], "<i4")
    assert header[:8].tolist() == [20240326, 3, 7, 11, 2, 3, 12, 128]
    assert not header[8:].any()
    state = tiny.scattered().float().state_dict()
    body = np.frombuffer(found[1024:], "<f4")
    wte = body[: 128 * 12].reshape(128, 12)
    assert np.array_equal(wte[:11], state["transformer.wte.weight"])
    assert not wte[11:].any()
    ln1w = body[128 * 12 + 7 * 12 :][: 2 * 12].reshape(2, 12)
    for layer in range(2):
        name = f"transformer.h.{layer}.ln_1.weight"
        assert np.array_equal(ln1w[layer], state[name])
    assert np.array_equal(body[-12:], state["transformer.ln_f.bias"])
    assert body.size == NUMBERS + (128 - 11) * 12


def test_a_bin_comes_back_with_the_same_bits(tmp_path):
    path, ours = tmp_path / "model.bin", weights(128)
    write_bin(path, TINY, ours)
    config, back = read_bin(path)
    assert config == TINY and np.array_equal(back.numbers, ours.numbers)
    assert [p.name for p in tmp_path.iterdir()] == ["model.bin"]


def test_version_1_has_no_padding_and_is_read(tmp_path):
    ours, path = weights(), tmp_path / "old.bin"
    header = np.zeros(256, "<i4")
    header[:7] = 20240326, 1, 7, 11, 2, 3, 12
    path.write_bytes(header.tobytes() + ours.numbers.tobytes())
    config, back = read_bin(path)
    assert config == TINY and np.array_equal(back.numbers, ours.numbers)


def broken(path, place, number):
    """Another number in the header."""
    found = bytearray(path.read_bytes())
    found[4 * place : 4 * place + 4] = np.int32(number).tobytes()
    path.write_bytes(found)


def cut(path, by):
    found = path.read_bytes()
    path.write_bytes(found[:by] if by < 0 else found + bytes(by))


SIZE = 1024 + 4 * (NUMBERS + 117 * 12)
DAMAGE = {
    "another magic": (
        lambda p: broken(p, 0, 20240520),
        "magic: got 20240520, expected 20240326",
    ),
    "another version": (
        lambda p: broken(p, 1, 2),
        "version: got 2, expected 3 or 1",
    ),
    "bfloat16": (
        lambda p: broken(p, 1, 5),
        "version: got 5, which is bfloat16, expected 3 or 1",
    ),
    "no layers": (
        lambda p: broken(p, 4, 0),
        "n_layer: got 0, expected an integer above 0",
    ),
    "heads that do not divide": (
        lambda p: broken(p, 5, 5),
        "n_head: got 5, expected a divisor of n_embd = 12",
    ),
    "fewer rows than tokens": (
        lambda p: broken(p, 7, 10),
        "padded_vocab_size: got 10, expected at least 11",
    ),
    "cut short": (
        lambda p: cut(p, -4),
        f"got {SIZE - 4:,} bytes, expected {SIZE:,} for GPTConfig(",
    ),
    "too long": (
        lambda p: cut(p, 1),
        f"got {SIZE + 1:,} bytes, expected {SIZE:,} for GPTConfig(",
    ),
    "of another shape": (
        lambda p: broken(p, 2, 2**31 - 1),
        f"got {SIZE:,} bytes, expected ",
    ),
    "cut within the header": (
        lambda p: p.write_bytes(p.read_bytes()[:10]),
        "got 10 bytes, expected a header of 1024",
    ),
    "gone": (
        lambda p: p.unlink(),
        "cannot be read: No such file or directory",
    ),
}


@pytest.mark.parametrize("damage, message", DAMAGE.values(), ids=DAMAGE)
def test_a_bin_that_is_not_whole_is_refused_by_name(damage, message, tmp_path):
    path = tmp_path / "model.bin"
    write_bin(path, TINY, weights())
    damage(path)
    expected = re.escape(f"{path}: {message}")
    with pytest.raises(ValueError, match=f"^{expected}"):
        read_bin(path)


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "model.bin"
    write_bin(path, TINY, weights())
    before = path.read_bytes()
    other = initial(TINY, seed=9)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bin(path, TINY, other)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.bin"]


def test_gpt2s_bin_has_as_many_bytes_as_llm_cs():
    shapes = parameter_shapes(GPT_2_SMALL, padded(50_257))
    numbers = sum(int(np.prod(shape)) for shape in shapes.values())
    assert 1024 + 4 * numbers == 497_904_640


def test_a_bin_of_another_config_is_not_written(tmp_path):
    longer = replace(TINY, n_positions=TINY.n_positions + 2)
    with pytest.raises(ValueError, match="^wpe: got shape .*, expected"):
        write_bin(tmp_path / "model.bin", longer, weights())
    with pytest.raises(ValueError, match="got a folder, expected a file"):
        write_bin(tmp_path, TINY, weights())
    assert not list(tmp_path.iterdir())
