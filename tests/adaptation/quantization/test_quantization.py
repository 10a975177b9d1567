"""`llmnotes quantize` and `llmnotes sample` of what it wrote."""

import os
import shlex
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from llmnotes import __main__ as cli
from llmnotes import checkpoint, commands
from llmnotes.adaptation.quantization import gguf, saved
from llmnotes.foundations.tokenizers import train
from llmnotes.transformer.gpt import GPT, GPTConfig

SYMBOLS = "\n abcdefghijklmnop"


@pytest.fixture(autouse=True)
def small_run(tmp_path, monkeypatch):
    """A folder `run` as train leaves it."""
    monkeypatch.chdir(tmp_path)
    keep("run", len(SYMBOLS), symbols=SYMBOLS)


def keep(folder, vocab, **known):
    """A checkpoint of a random model."""
    torch.manual_seed(0)
    shape = GPTConfig(vocab, n_positions=16, n_embd=64, n_layer=1, n_head=2)
    model = GPT(shape)
    about = {"model": "gpt", "shape": asdict(shape), **known}
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save(folder, 1, model, optimizer, {"about": about})


@pytest.fixture
def llmnotes(capsys):
    """Run a command: exit status, stdout, lines on stderr."""

    def run(command):
        try:
            status = cli.main(shlex.split(command))
        except SystemExit as left:
            status = left.code
        out, err = capsys.readouterr()
        return status, out, err.splitlines()

    return run


def test_a_run_becomes_a_file_and_the_file_writes(llmnotes):
    status, out, err = llmnotes("quantize run --kind f32 --out out.gguf")
    assert (status, err) == (0, [])
    count = sum(p.numel() for p in commands.recall("run")[0].parameters())
    assert out == (
        f"out.gguf: {count:,} weights in {4 * count:,} bytes, 32.00 bits "
        "each; tensors: 16 f32\n"
    )
    wanted = '--prompt "abc" --length 30 --seed 4'
    status, plain, _ = llmnotes(f"sample run {wanted}")
    assert status == 0
    assert llmnotes(f"sample out.gguf {wanted}")[:2] == (0, plain)


@pytest.mark.parametrize("kind", ["q8_0", "q4_k", "q4_0"])
def test_what_a_quantized_file_writes_is_what_its_model_writes(kind, llmnotes):
    status, out, _ = llmnotes(f"quantize run --kind {kind} --out d/x.gguf")
    assert status == 0 and out.startswith("d/x.gguf: ")
    status, text, _ = llmnotes("sample d/x.gguf --length 20 --temperature 0")
    assert status == 0 and len(text) == 22
    model, vocabulary = commands.recall("d/x.gguf")
    assert vocabulary.symbols == SYMBOLS
    found = gguf.read("d/x.gguf").tensors
    kept = model.transformer.wte.weight
    assert torch.equal(kept, found["token_embd.weight"].dequantize())
    assert not torch.equal(kept, commands.recall("run")[0].state_dict()[
        "transformer.wte.weight"
    ])  # fmt: skip


def test_the_run_is_left_as_it_was(llmnotes):
    before = checkpoint.latest("run") / "model.safetensors"
    before = before.read_bytes()
    llmnotes("quantize run --kind q4_0 --out x.gguf")
    after = checkpoint.latest("run") / "model.safetensors"
    assert after.read_bytes() == before


def test_pieces_come_along(llmnotes):
    tokenizer = train("so many words, so many more words " * 9, 262)
    tokenizer.save("pieces")
    digest = commands.Pieces(tokenizer).digest
    keep("pieces", tokenizer.size, pieces=digest)
    assert llmnotes("quantize pieces --kind f16 --out p.gguf")[0] == 0
    _, vocabulary = commands.recall("p.gguf")
    assert vocabulary.digest == digest
    ask = "--prompt so --length 9 --temperature 0"
    assert llmnotes(f"sample p.gguf {ask}")[0] == 0


REFUSED = {
    "--kind: got 'int8', expected one of f32, f16, bf16, q4_0": (
        "quantize run --kind int8 --out x.gguf"
    ),
    "nobody: got no checkpoint, expected a folder that llmnotes train wrote": (
        "quantize nobody --kind q4_k --out x.gguf"
    ),
    "text: got b'this' at the front, expected b'GGUF'": "sample text",
    "empty: got 0 bytes, expected at least 4: it was cut short": (
        "sample empty"
    ),
    "run: is no file, expected one that can be replaced": (
        "quantize run --kind q4_k --out run"
    ),
    ".: is no file, expected one that can be replaced": (
        "quantize run --kind q4_k --out ."
    ),
    "pipe: is no file, expected one that can be replaced": (
        "quantize run --kind q4_k --out pipe"
    ),
    "odd.gguf: got no shape of a model of ours": "sample odd.gguf",
    "the following arguments are required: --kind": (
        "quantize run --out x.gguf"
    ),
}


@pytest.mark.parametrize(("message", "command"), REFUSED.items())
def test_mistakes_take_one_line(message, command, llmnotes, tmp_path):
    (tmp_path / "text").write_text("this is no model")
    (tmp_path / "empty").write_text("")
    os.mkfifo("pipe")
    gguf.write("odd.gguf", {saved.ABOUT: "[" * 9999}, {})
    status, out, err = llmnotes(command)
    assert (status, out, len(err)) == (2, "", 1)
    assert err[0].startswith("llmnotes") and message in err[0]
    assert not (tmp_path / "x.gguf").exists()
    assert Path("pipe").is_fifo() and not list(tmp_path.rglob("*.part"))


def test_a_run_with_a_weight_that_is_lost_is_named(llmnotes):
    model, _ = commands.recall("run")
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.weight[2, 3] = torch.inf
    optimizer = torch.optim.AdamW(model.parameters())
    about = checkpoint.read("run")["about"]
    checkpoint.save("run", 2, model, optimizer, {"about": about})
    status, _, err = llmnotes("quantize run --kind q8_0 --out x.gguf")
    assert status == 2
    assert err == [
        "llmnotes: blk.0.ffn_up.weight: got 1 times NaN or infinity, expected "
        "finite numbers"
    ]


def test_every_kind_that_help_names_is_there(llmnotes):
    _, out, _ = llmnotes("quantize --help")
    for kind in saved.KINDS:
        assert kind in out or kind == "bf16"
