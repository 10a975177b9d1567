"""What sampling from Hugging Face's folders claims, proved."""

import json
import subprocess
import sys

import pytest
import torch

from llmnotes import __main__ as cli
from llmnotes import folders, presets
from llmnotes.foundations.tokenizers import SentencePieceBPE, train
from llmnotes.foundations.tokenizers.model_file import (
    BPE,
    BYTE,
    CONTROL,
    UNKNOWN,
    ModelFile,
    Piece,
)
from llmnotes.models import llama, mistral, moe, phi
from llmnotes.models.kv_cache import generate
from llmnotes.transformer import gpt

TINY = dict(
    hidden_size=8,
    intermediate_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=64,
)
BYTES = train("to be or not to be " * 9, 262)
LETTERS = "▁abcdefghijklmnopqrstuvwxyz"
JOINED = "▁c", "at", "▁cat", "▁d", "og"
TOY = SentencePieceBPE(
    ModelFile(
        pieces=(
            Piece("<unk>", 0.0, UNKNOWN),
            Piece("<s>", 0.0, CONTROL),
            Piece("</s>", 0.0, CONTROL),
            *(Piece(f"<0x{b:02X}>", 0.0, BYTE) for b in range(256)),
            *(Piece(text, -float(i)) for i, text in enumerate(JOINED)),
            *(Piece(letter, -99.0) for letter in LETTERS),
        ),
        type=BPE,
        byte_fallback=True,
        spare_spaces=False,
    )
)


def windowed(vocab):
    torch.manual_seed(0)
    return mistral.Mistral(
        mistral.MistralConfig(vocab, **TINY, sliding_window=3)
    )


@pytest.fixture
def speaking(tmp_path):
    """A Mistral with pieces of SentencePiece's kind."""
    mistral.save_pretrained(windowed(TOY.size), tmp_path)
    TOY.save(tmp_path / "tokenizer.model")
    return tmp_path


def said(capsys, *arguments):
    status = cli.main(["sample", *map(str, arguments)])
    return status, *capsys.readouterr()


def test_a_mistral_writes_what_generate_writes(speaking, capsys):
    ids = [1, *TOY.encode("my cat")]
    model = mistral.from_pretrained(speaking)
    text = generate(model, torch.tensor([ids]), 12, temperature=0)[0]
    options = "--prompt", "my cat", "--length", 12, "--temperature", 0
    status, out, err = said(capsys, speaking, *options)
    assert status == 0 and "tokens/s" in err
    assert out == TOY.decode(text.tolist()) + "\n"


def folder_of(kind, path):
    torch.manual_seed(0)
    if kind == "gpt2":
        config = gpt.GPTConfig(262, 64, n_embd=8, n_layer=1, n_head=2)
        gpt.save_gpt2(gpt.GPT(config), path)
    elif kind == "llama":
        config = llama.LlamaConfig(262, **TINY)
        llama.save_pretrained(llama.Llama(config), path)
    elif kind == "mistral":
        mistral.save_pretrained(windowed(262), path)
    elif kind == "mixtral":
        config = moe.MixtralConfig(262, **TINY, num_local_experts=3)
        moe.save_pretrained(moe.Mixtral(config), path)
    else:
        config, build = {
            "phi": (phi.PhiConfig, phi.Phi),
            "phi3": (phi.Phi3Config, phi.Phi3),
        }[kind]
        phi.save_pretrained(build(config(262, **TINY)), path)
    BYTES.save(path)


@pytest.mark.parametrize("kind", presets.FOLDERS)
def test_each_architecture_writes(kind, tmp_path, capsys):
    folder_of(kind, tmp_path)
    options = tmp_path, "--prompt", "to be", "--length", 9, "--seed", 1
    found = said(capsys, *options)
    assert found[0] == 0 and found[1].startswith("to be")
    assert said(capsys, *options)[:2] == found[:2]


def test_the_first_letter_waits_for_no_compiler(tmp_path):
    """Each of these takes as long to load as all that is needed."""
    folder_of("llama", tmp_path)
    code = (
        "import sys; from llmnotes import __main__ as cli; cli.main(); "
        "print({'numba', 'sympy', 'torch._dynamo'} & {*sys.modules})"
    )
    words = [sys.executable, "-c", code, "sample", tmp_path, "--length", "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nset()\n")


def test_letters_wait_for_their_bytes_and_keep_their_spaces():
    spoken = folders.Vocabulary(TOY)
    first, *ids = spoken.encode("cats and ℵ₀ dogs").tolist()
    assert first == 1
    assert "".join(spoken.stream(ids)) == " cats and ℵ₀ dogs"
    assert "".join(spoken.stream(ids[1:2])) == "s"
    assert "\ufffd" not in "".join(spoken.stream(ids))
    half = next(i for i, n in enumerate(ids) if n in spoken.tokenizer.bytes)
    assert "".join(spoken.stream(ids[: half + 1])).endswith("\ufffd")


def test_the_text_ends_where_the_model_ends_it():
    spoken = folders.Vocabulary(TOY)
    ids = spoken.encode("one two").tolist()[1:]
    assert "".join(spoken.stream([*ids, 2, *ids])) == " one two"


def test_what_does_not_fit_is_one_line(speaking, capsys):
    def fails(words):
        status, out, err = said(capsys, speaking)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert words in err

    config = speaking / "config.json"
    given = json.loads(config.read_text())
    config.write_text(json.dumps(given | {"model_type": "mamba"}))
    fails("config.json: model_type: got 'mamba', expected one of gpt2, llam")
    config.write_text(json.dumps(given | {"sliding_window": 0}))
    fails("sliding_window: got 0, expected at least 1")
    config.write_text(json.dumps(given))
    mistral.save_pretrained(windowed(TOY.size - 1), speaking)
    fails(f"got a tokenizer of {TOY.size} pieces, expected at most the mode")
    (speaking / "tokenizer.model").unlink()
    fails("got no tokenizer, expected one of vocab.json")
