"""What the command line claims, proved: one line for every accident."""

import hashlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from unittest.mock import Mock

import pooch
import pytest
import torch

from llmnotes import __main__ as cli
from llmnotes import (
    checkpoint,
    commands,
    corpora,
    data,
    pictures,
    presets,
)
from llmnotes import train as loop
from llmnotes.foundations.tokenizers import train as learn
from llmnotes.transformer import gpt
from llmnotes.transformer.training_step import FusedGPT
from tests import command_line

SONG = "the cat sat on the mat, and the dog sat on the cat.\n" * 8
TRAIN = "train gpt --data song --preset tiny --steps 6 --eval-every 2 --out"


@pytest.fixture(autouse=True)
def small_world(monkeypatch, tmp_path):
    """A short text, a tiny preset, one thread and no cache."""
    tiny = gpt.GPTConfig(99, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    monkeypatch.setattr(gpt, "TINY", tiny, raising=False)
    training = replace(presets.SMALL, block=8, warmup=2)
    preset = presets.Preset("llmnotes.transformer.gpt:TINY", training)
    monkeypatch.setitem(presets.MODELS["gpt"].presets, "tiny", preset)
    for name, words in (("song", SONG), ("empty", ""), ("short", "ab" * 9)):
        body = words.encode()
        known = corpora.Download(
            about=f"a {name} text",
            file=f"{name}.txt",
            url="http://127.0.0.1:9/nobody",
            sha256=hashlib.sha256(body).hexdigest(),
        )
        monkeypatch.setitem(corpora.DOWNLOADS, name, known)
        (tmp_path / "texts").mkdir(exist_ok=True)
        (tmp_path / "texts" / known.file).write_bytes(body)
    (tmp_path / "texts/edge.txt").write_text("ab" * 40)
    (tmp_path / "texts/latin.txt").write_bytes("café".encode("latin-1"))
    monkeypatch.setenv("LLMNOTES_DATA_DIR", str(tmp_path / "texts"))
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def llmnotes(capsys):
    """Run a command: exit status, lines on stdout, lines on stderr."""
    return partial(command_line.called, capsys)


class Other(gpt.GPT):
    """A second model for the table."""


def fails(result, *words):
    status, out, err = result
    assert (status, out, len(err)) == (2, [], 1), result
    assert err[0].startswith("llmnotes")
    for word in words:
        assert word in err[0]


def test_the_last_line_names_the_final_loss_and_the_checkpoint(llmnotes):
    status, out, err = llmnotes(f"{TRAIN} run")
    assert status == 0
    assert len(err) == 3
    words, value, *rest = out[-1].rpartition(",")[0].rpartition(" ")
    assert out[-1].endswith(
        f", checkpoint {os.path.join('run', 'step-000006')}"
    )
    assert words == "final validation loss"
    model, vocabulary = commands.recall("run")
    ids = data.split(vocabulary.encode(SONG))[1]
    config = loop.TrainConfig(block=8)
    exact = loop.evaluate_all(model, ids.to(commands.device()), config)
    assert rest == [f"{exact:.4f}"]


def test_options_change_the_preset_and_the_seed_changes_the_weights(llmnotes):
    llmnotes(f"{TRAIN} a --seed 1 --batch-size 4 --learning-rate 0.01")
    facts = checkpoint.read("a")["facts"]
    assert facts["batch_size"] == 4
    assert facts["learning_rate"] == 0.01
    assert facts["min_learning_rate"] == 0.001
    assert facts["block"] == 8
    llmnotes(f"{TRAIN} b")
    llmnotes(f"{TRAIN} c")
    a, b, c = (commands.recall(run)[0].state_dict() for run in "abc")
    name = "transformer.wte.weight"
    assert torch.equal(b[name], c[name])
    assert not torch.equal(a[name], b[name])


def test_ctrl_c_prints_the_command_that_goes_on_to_the_same_bit(
    llmnotes, monkeypatch
):
    last = llmnotes(f"{TRAIN} whole")[1][-1]
    update = loop.update
    with monkeypatch.context() as patch:
        patch.setattr(
            loop,
            "update",
            lambda *a: (
                a[-1] == 2 and signal.raise_signal(signal.SIGINT),
                update(*a),
            )[1],
        )
        status, out, err = llmnotes(f"{TRAIN} run")
    assert (status, out) == (130, [])
    said, _, command = err[-1].partition("; go on with: llmnotes ")
    assert said == "llmnotes: stopped after step 3, saved in run"
    status, out, _ = llmnotes(command)
    assert status == 0
    assert out[-1] == last.replace("whole", "run")


def test_ctrl_c_in_the_last_evaluation_says_how_to_go_on(
    llmnotes, monkeypatch
):
    evaluate_all = loop.evaluate_all

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        return evaluate_all(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate_all", interrupted)
        status, _, err = llmnotes(f"{TRAIN} run")
    assert status == 130
    assert err[-1] == (
        "llmnotes: stopped after step 6, saved in run; go on with: llmnotes "
        f"{TRAIN} run --resume"
    )
    assert llmnotes(f"{TRAIN} run --resume")[0] == 0


def test_ctrl_c_before_the_first_checkpoint_is_one_line(llmnotes, monkeypatch):
    def interrupted(name):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(corpora, "text", interrupted)
    assert llmnotes(f"{TRAIN} run") == (130, [], ["llmnotes: stopped"])


def test_the_same_seed_writes_the_same_text(llmnotes):
    llmnotes(f"{TRAIN} run")
    command = "sample run --prompt 'the c' --length 40 --seed"
    first, again, other = (llmnotes(f"{command} {s}")[1] for s in (1, 1, 2))
    assert first == again != other
    assert "\n".join(first).startswith("the c")
    assert len("\n".join(first)) == 45


def test_a_greedy_sample_does_not_depend_on_the_seed(llmnotes):
    llmnotes(f"{TRAIN} run")
    for choice in ("--temperature 0", "--top-k 1", "--min-p 1"):
        command = f"sample run --prompt the --length 20 {choice} --seed"
        assert llmnotes(f"{command} 1")[1] == llmnotes(f"{command} 2")[1]


def test_data_list_names_all_texts_and_images_and_that_a_path_works(llmnotes):
    status, out, err = llmnotes("data list")
    assert (status, err) == (0, [])
    said = [tuple(line.split()[:2]) for line in out]
    texts, images = [*corpora.names(), "FILE"], pictures.names()
    assert said == [
        *((name, "text") for name in texts),
        *((name, "images") for name in images),
        *((name, "captioned") for name in pictures.captioned_names()),
    ]
    assert out[len(texts) - 1].endswith("by its path")


def test_data_get_says_where_the_text_lies(llmnotes, tmp_path):
    status, out, err = llmnotes("data get song")
    assert (status, err) == (0, [])
    assert out == [f"song: {tmp_path / 'texts/song.txt'}"]


def test_data_get_without_a_network_is_one_line(llmnotes, monkeypatch):
    monkeypatch.delenv("LLMNOTES_DATA_DIR")
    fails(llmnotes("data get song"), "song: could not download", "no network")


@pytest.mark.parametrize("command", ["", "train ", "sample ", "data "])
def test_help_shows_examples_that_parse(llmnotes, command):
    status, out, err = llmnotes(f"{command}--help")
    assert (status, err) == (0, [])
    text = "\n".join(out).replace("\\\n", "")
    examples = text.partition("examples:\n")[2].splitlines()
    assert len(examples) >= 9
    for example in examples:
        cli.parser().parse_args(shlex.split(example)[1:])


WITHOUT_TORCH = """
import runpy, sys
sys.modules["torch"] = None  # importing it now fails
sys.argv[1:] = {arguments!r}
runpy.run_module("llmnotes", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("--help", 0, "examples:"),
        ("data list", 0, "tiny_shakespeare"),
        ("train gpt --out run --steps 0", 2, "--steps: got 0"),
        ("sample nowhere", 2, "nowhere: got no checkpoint"),
    ],
)
def test_python_m_llmnotes_answers_without_waiting_for_torch(
    tmp_path, command, status, words
):
    code = WITHOUT_TORCH.format(arguments=command.split())
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == status, done
    assert words in (done.stderr if status else done.stdout)
    assert not (done.stdout if status else done.stderr)


def test_float32_on_the_cpu_trains_the_fused_model_and_nothing_else_does(
    monkeypatch,
):
    monkeypatch.setattr(commands, "device", lambda: torch.device("cpu"))
    entry, config = presets.MODELS["gpt"], presets.SMALL
    assert commands.model_for(entry, config) is FusedGPT
    for change in ({"dtype": "bfloat16"}, {"compile": True}):
        changed = replace(config, **change)
        assert commands.model_for(entry, changed) is gpt.GPT
    plain = replace(entry, quick="")
    assert commands.model_for(plain, config) is gpt.GPT
    monkeypatch.setattr(commands, "device", lambda: torch.device("cuda"))
    assert commands.model_for(entry, config) is gpt.GPT


OWN = "train gpt --data 'my own.txt' --preset tiny --steps 2 --out mine"


def test_a_text_of_ones_own_is_learnt_and_its_folder_is_enough(
    llmnotes, tmp_path
):
    own = tmp_path / "my own.txt"
    lines = "Ω — été,\n" * 20
    own.write_bytes(("\ufeff" + lines.replace("\n", "\r\n")).encode())
    assert llmnotes(OWN)[0] == 0
    own.unlink()
    about = checkpoint.read("mine")["about"]
    assert about["model"] == "gpt"
    # What Windows puts in front of a file and of a line's end is gone.
    assert about["symbols"] == "".join(sorted(set(lines)))
    status, out, _ = llmnotes("sample mine --prompt Ω --length 30")
    assert status == 0
    assert set("\n".join(out)) <= set(about["symbols"])


def test_a_known_name_is_not_looked_for_among_the_files(llmnotes, tmp_path):
    (tmp_path / "song").write_text("another " * 30)
    llmnotes(f"{TRAIN} run")
    llmnotes(f"{TRAIN} own --data ./song")
    symbols = [checkpoint.read(r)["about"]["symbols"] for r in ("run", "own")]
    assert symbols == ["".join(sorted(set(t))) for t in (SONG, "another ")]


@pytest.mark.parametrize(
    "other",
    [
        "other words of the same letters",  # facts differ
        "XX other letters",  # another vocabulary
    ],
)
def test_a_run_is_not_resumed_with_another_text(llmnotes, tmp_path, other):
    own = tmp_path / "my own.txt"
    own.write_text("the words of other letters same " * 20)
    llmnotes(OWN)
    before = everything(tmp_path / "mine")
    own.write_text(f"{other} " * 20)
    fails(llmnotes(f"{OWN} --resume"), "text: got", "run in mine began")
    assert everything(tmp_path / "mine") == before


def test_a_text_that_becomes_the_same_numbers_is_another_text(
    llmnotes, tmp_path
):
    own = tmp_path / "my own.txt"
    own.write_text("abc é " * 50)
    llmnotes(OWN)
    own.write_text("abc è " * 50)
    fails(llmnotes(f"{OWN} --resume"), "text: got other characters")


def test_a_checkpoint_says_which_model_it_holds(llmnotes, monkeypatch):
    build = f"{__name__}:Other"
    other = replace(presets.MODELS["gpt"], build=build, quick="")
    monkeypatch.setitem(presets.MODELS, "other", other)
    assert llmnotes(f"{TRAIN.replace('gpt', 'other')} run")[0] == 0
    assert checkpoint.read("run")["about"]["model"] == "other"
    assert type(commands.recall("run")[0]) is Other
    fails(
        llmnotes(f"{TRAIN} run --resume"),
        "model: got 'gpt', expected 'other', with which the run in run began",
    )
    monkeypatch.delitem(presets.MODELS, "other")
    fails(llmnotes("sample run"), "run: model: got 'other', expected one of g")


def test_a_checkpoint_from_before_the_table_reads_as_gpt(llmnotes, tmp_path):
    llmnotes(f"{TRAIN} run")
    before = llmnotes("sample run --length 20")[:2]
    file = tmp_path / "run/step-000006/state.json"
    state = json.loads(file.read_text())
    assert state["notes"]["about"].pop("model") == "gpt"
    file.write_text(json.dumps(state))
    assert llmnotes("sample run --length 20")[:2] == before
    assert llmnotes(f"{TRAIN} run --resume")[0] == 0


def test_what_the_terminal_cannot_show_is_a_question_mark(
    llmnotes, monkeypatch, tmp_path
):
    (tmp_path / "my own.txt").write_text("Ωmega " * 50, "utf-8")
    llmnotes(OWN)
    terminal = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert cli.main(["sample", "mine", "--prompt", "Ω", "--length", "9"]) == 0
    terminal.flush()
    assert terminal.buffer.getvalue().startswith(b"?")


# Accidents


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train gpt --data nope --preset tiny --out run", "song"),
        (
            "train gpt --data song --preset nope --out run",
            "--preset: got 'nope', expected one of minigpt, nanogpt_cpu",
        ),
        ("train gpt --data empty --preset tiny --out run", "empty string"),
        (
            "train gpt --data short --preset tiny --out run",
            "--data: got 18 characters in short, 2 of them to validate on; "
            "expected at least 9 there",
        ),
        (
            "train gpt --data nope.txt --preset tiny --out run",
            "--data: got 'nope.txt', no such file and no such text; expected "
            "a file in UTF-8, or one of python_reference, tiny_shakespeare",
        ),
        ("train gpt --data '' --out run", "--data: got '', no such file"),
        (
            "train gpt --data texts --preset tiny --out run",
            "--data: got 'texts', a folder; expected a file in UTF-8",
        ),
        (
            "train gpt --data texts/empty.txt --preset tiny --out run",
            "--data: got 'texts/empty.txt', an empty file",
        ),
        (
            "train gpt --data texts/short.txt --preset tiny --out run",
            "--data: got 18 characters in texts/short.txt",
        ),
        (
            "train gpt --data texts/edge.txt --preset tiny --out run",
            "--data: got 80 characters in texts/edge.txt, 8 of them to",
        ),
        (
            "train gpt --data texts/latin.txt --preset tiny --out run",
            "--data: got 'texts/latin.txt', whose byte 3 is 0xe9; expected a",
        ),
        (f"{TRAIN} run --steps 0", "--steps: got 0, expected an integer, 1 o"),
        (f"{TRAIN} run --steps -3", "--steps: got -3"),
        (f"{TRAIN} run --steps many", "--steps: got many"),
        (f"{TRAIN} run --threads 0", "--threads: got 0"),
        (f"{TRAIN} run --learning-rate nan", "--learning-rate: got nan"),
        (f"{TRAIN} run --dtype float8", "bfloat16"),
        (f"{TRAIN} texts/song.txt", "song.txt: got a file, expected a run's"),
        ("train gpt", "--out"),
        ("train bert --out run", "'bert' (choose from"),
        ("walk", "walk"),
        ("", "command"),
        ("sample run", "run: got no checkpoint"),
        ("sample run --prompt ''", "--prompt: got nothing"),
        ("sample run --top-k 0", "--top-k: got 0"),
        ("sample run --top-p 1.5", "--top-p: got 1.5, expected a number, 0 t"),
        ("sample run --length -1", "--length: got -1"),
        ("sample run --temperature -1", "--temperature: got -1"),
        ("data show", "show"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    llmnotes, tmp_path, command, words
):
    fails(llmnotes(command), words)
    assert not (tmp_path / "run").exists()


def test_no_network_is_one_line(llmnotes, monkeypatch):
    monkeypatch.delenv("LLMNOTES_DATA_DIR")
    fails(llmnotes(f"{TRAIN} run"), "could not download", "no network")


def test_a_wrong_hash_is_one_line(llmnotes, tmp_path):
    (tmp_path / "texts/song.txt").write_text("another song")
    fails(llmnotes(f"{TRAIN} run"), "song.txt", "SHA-256")


def everything(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_run_is_kept_when_another_wants_its_folder(llmnotes, tmp_path):
    llmnotes(f"{TRAIN} run")
    before = everything(tmp_path / "run")
    fails(llmnotes(f"{TRAIN} run --seed 3"), "run at step 6", "resume")
    other = f"{TRAIN} run --preset minigpt"
    fails(llmnotes(other), "run at step 6")
    fails(llmnotes(f"{other} --resume"), "block: got 32, expected 8")
    assert everything(tmp_path / "run") == before
    assert llmnotes(f"{TRAIN} run --resume")[0] == 0


@pytest.mark.parametrize(
    "file", ["model.safetensors", "training.safetensors", "state.json"]
)
def test_a_truncated_checkpoint_is_one_line(llmnotes, tmp_path, file):
    llmnotes(f"{TRAIN} run")
    path = tmp_path / "run/step-000006" / file
    path.write_bytes(path.read_bytes()[:-9])
    fails(
        llmnotes(f"{TRAIN} run --resume"),
        file,
        "to go on from step 4, move step-000006",
    )
    if file != "training.safetensors":
        fails(llmnotes("sample run"), file)


def test_a_foreign_run_is_one_line(llmnotes, tmp_path):
    llmnotes(f"{TRAIN} run")
    file = tmp_path / "run/step-000006/state.json"
    state = json.loads(file.read_text())
    for about in (
        None,
        "gpt",
        {"symbols": "abc"},
        {"shape": {"n_embd": 0}},
        {"model": "gpt", "shape": {"depth": 3}, "symbols": "abc"},
    ):
        state["notes"]["about"] = about
        file.write_text(json.dumps(state))
        fails(llmnotes("sample run"), "run: got weights without shape")
    for model in ("mamba", None, ["gpt"]):
        state["notes"]["about"] = {"model": model}
        file.write_text(json.dumps(state))
        fails(llmnotes("sample run"), f"got {model!r}, expected one of gpt")
    file.write_text('{"model_type": "gpt2"}')
    fails(llmnotes("sample run"), "state.json")


def test_an_unknown_character_in_the_prompt_is_one_line(llmnotes):
    llmnotes(f"{TRAIN} run")
    fails(llmnotes("sample run --prompt 'the 9'"), "--prompt", "'9' at posi")


@pytest.mark.parametrize("when", [0, 2])
def test_a_full_disk_is_one_line(llmnotes, monkeypatch, tmp_path, when):
    fill = checkpoint.fill

    def full(part, step, *rest):
        if step == when:
            raise OSError(28, "No space left on device")
        fill(part, step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "fill", full)
        status, out, err = llmnotes(f"{TRAIN} run")
    assert (status, out) == (2, [])
    assert f"could not save step {when} (" in err[-1]
    assert "No space left" in err[-1]
    assert checkpoint.steps("run") == list(range(when))[:1]
    assert llmnotes(f"{TRAIN} run --resume")[0] == 0


def test_a_folder_that_cannot_be_made_is_one_line(llmnotes, monkeypatch):
    def denied(*arguments, **options):
        raise PermissionError(13, "Permission denied", "run")

    monkeypatch.setattr(os, "mkdir", denied)
    fails(llmnotes(f"{TRAIN} run"), "run: Permission denied")


def test_a_warning_is_one_line(llmnotes):
    llmnotes(f"{TRAIN} run")
    status, _, err = llmnotes(f"{TRAIN} run --resume --threads 2")
    assert status == 0
    assert err == [
        "llmnotes: warning: run comes from 1 threads, this is 2: the last "
        "bits will differ"
    ]


# Longer runs, the end of a text, terminals


def test_a_run_is_made_longer_and_its_new_rate_is_said(llmnotes):
    llmnotes(f"{TRAIN} run")
    status, out, err = llmnotes(f"{TRAIN} run --steps 8 --resume")
    assert status == 0
    assert out[-1].endswith("step-000008")
    assert err[0].startswith(
        "llmnotes: warning: run: 6 steps become 8; from step 6 the learning "
        "rate is that of a run of 8, "
    )
    fails(
        llmnotes(f"{TRAIN} run --steps 7 --resume"),
        "steps: got 7, expected 8 or more, with which the run in run began",
    )


def test_a_text_ends_before_what_it_is_to_stop_at(llmnotes):
    llmnotes(f"{TRAIN} run")
    command = "sample run --prompt 'the cat' --length 200 --seed 3"
    whole = "\n".join(llmnotes(command)[1])
    for stop in (whole[20:23], whole[60], whole[150:159]):
        status, out, _ = llmnotes(f"{command} --stop {shlex.quote(stop)}")
        assert status == 0
        end = whole.index(stop, len("the cat"))
        assert "\n".join(out) == whole[:end].removesuffix("\n")
    two = f"--stop {shlex.quote(whole[60])} --stop {shlex.quote(whole[20:23])}"
    first = min(whole.index(s, 7) for s in (whole[60], whole[20:23]))
    assert "\n".join(llmnotes(f"{command} {two}")[1]) == whole[
        :first
    ].removesuffix("\n")


@pytest.mark.parametrize(
    ("stops", "written", "end"),
    [
        (["ab"], "xxaaby", "xxa"),
        (["aab"], "aaaab", "aa"),
        (["abc", "bd"], "abdabc", "a"),
        (["abc", "b"], "xabc", "xa"),
        (["xyz"], "wxy", "wxy"),
        ([], "ab", "ab"),
    ],
)
def test_what_may_be_the_beginning_of_a_stop_waits_and_is_not_lost(
    stops, written, end
):
    assert "".join(commands.until(iter(written), stops)) == end


def test_a_text_is_shown_letter_by_letter(llmnotes, monkeypatch):
    llmnotes(f"{TRAIN} run")
    whole = llmnotes("sample run --prompt the --length 9")[1]
    seen, drawn = [], commands.drawn

    def watched(*arguments):
        for token in drawn(*arguments):
            seen.append(sys.stdout.getvalue())
            yield token

    monkeypatch.setattr(commands, "drawn", watched)
    assert llmnotes("sample run --prompt the --length 9")[1] == whole
    assert [len(text) for text in seen] == list(range(3, 12))


def test_a_text_says_how_quickly_it_came(llmnotes, monkeypatch):
    llmnotes(f"{TRAIN} run")
    said = r"first token after \d+\.\d\d s, then [1-9]\d* tokens/s"
    (pace,) = llmnotes("sample run --length 9")[2]
    assert re.fullmatch(said, pace)
    clock = iter([0.0, 0.25, 0.5, 0.75])
    with monkeypatch.context() as patch:
        patch.setattr(commands, "perf_counter", lambda: next(clock))
        (pace,) = llmnotes("sample run --length 3")[2]
    assert pace == "first token after 0.25 s, then 4 tokens/s"
    assert llmnotes("sample run --length 0")[2] == ["no tokens"]
    (pace,) = llmnotes("sample run --length 1")[2]
    assert re.fullmatch(r"first token after \d+\.\d\d s", pace)


def test_the_cache_is_used_as_far_as_the_model_reads(llmnotes, monkeypatch):
    """It changes no letter; the tiny model reads eight."""
    llmnotes(f"{TRAIN} run")
    cached = SimpleNamespace(stream=Mock(wraps=commands.kv_cache.stream))
    for letters, uses in ((6, 1), (7, 0)):
        command = f"sample run --prompt the --seed 4 --length {letters}"
        with monkeypatch.context() as patch:
            patch.setattr(commands, "kv_cache", cached)
            found = llmnotes(command)[1]
            assert cached.stream.call_count == uses
            patch.setattr(commands, "kv_cache", commands.sampling)
            assert llmnotes(command)[1] == found
        cached.stream.reset_mock()


def test_ctrl_c_keeps_what_was_written(llmnotes, monkeypatch):
    llmnotes(f"{TRAIN} run")
    drawn = commands.drawn

    def interrupted(*arguments):
        for count, token in enumerate(drawn(*arguments)):
            if count == 4:
                signal.raise_signal(signal.SIGINT)
            yield token

    monkeypatch.setattr(commands, "drawn", interrupted)
    status, out, err = llmnotes("sample run --prompt the --length 9")
    assert (status, err) == (130, ["llmnotes: stopped"])
    assert len("\n".join(out)) == 7


def test_a_text_without_a_new_line_has_a_prompt_all_the_same(
    llmnotes, tmp_path
):
    (tmp_path / "my own.txt").write_text("zebra " * 50, "utf-8")
    llmnotes(OWN)
    status, out, _ = llmnotes("sample mine --length 5")
    assert status == 0
    assert out[0][0] == " "  # its first character


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--stop ''", "--stop: got nothing, expected at least one letter"),
        ("--stop 'the 9'", "--stop: got '9' at position 4, expected only"),
    ],
)
def test_a_stop_that_cannot_be_written_is_one_line(llmnotes, options, words):
    llmnotes(f"{TRAIN} run")
    fails(llmnotes(f"sample run {options}"), words)


def ascii_terminal(errors="strict"):
    return io.TextIOWrapper(io.BytesIO(), "ascii", errors=errors)


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_no_command_fails_for_want_of_a_letter(
    llmnotes, monkeypatch, tmp_path, errors
):
    """The list of data has a ×; folders and texts may have any letter."""
    (tmp_path / "été.txt").write_text("Ωmega\n" * 50, "utf-8")
    run = "train gpt --data été.txt --preset tiny --steps 2 --out été"
    for command in ("data list", run, "--help", "sample été --prompt Ω"):
        out, err = ascii_terminal(errors), ascii_terminal(errors)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            try:
                assert cli.main(shlex.split(command)) == 0
            except SystemExit as left:
                assert left.code == 0
        out.flush()
        assert out.buffer.getvalue()
        assert out.errors == errors  # as it was


def test_another_way_with_letters_is_respected(monkeypatch):
    out = ascii_terminal("xmlcharrefreplace")
    monkeypatch.setattr(sys, "stdout", out)
    assert cli.main(["data", "list"]) == 0
    out.flush()
    assert b"&#215;" in out.buffer.getvalue()


@pytest.mark.parametrize("closed", [False, True])
def test_without_a_stderr_a_mistake_is_a_status_and_no_text(
    capsys, monkeypatch, closed
):
    """print(file=None) would write it among the results."""
    stream = io.StringIO() if closed else None
    if closed:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    assert cli.main(["sample", "nowhere"]) == 2
    assert capsys.readouterr().out == ""


def test_a_reader_that_is_gone_ends_the_text_without_a_word(llmnotes):
    llmnotes(f"{TRAIN} run")
    words = [sys.executable, "-m", "llmnotes", "sample", "run"]
    writer = subprocess.Popen(
        [*words, "--prompt", "the", "--length", "2000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert writer.stdout.read(5).startswith(b"the")
    writer.stdout.close()
    assert writer.stderr.read() == b""
    assert writer.wait(60) == cli.READER_GONE


def test_pieces_are_shown_with_their_ids(tmp_path, capsys, monkeypatch):
    learn("to be or not to be " * 9, 262).save(tmp_path)
    assert cli.main(["tokenize", str(tmp_path), "to be\n"]) == 0
    by_argument = capsys.readouterr().out
    lines = [line.split() for line in by_argument.splitlines()]
    assert [piece for _, piece in lines] == ["to", "·be", "\\n"]
    assert all(0 <= int(i) < 262 for i, _ in lines)
    monkeypatch.setattr("sys.stdin", io.StringIO("to be\n"))
    assert cli.main(["tokenize", str(tmp_path)]) == 0
    assert capsys.readouterr().out == by_argument


def test_a_tokenizer_that_is_not_there_takes_one_line(tmp_path, capsys):
    assert cli.main(["tokenize", str(tmp_path / "gone"), "a"]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert cli.main(["tokenize", str(tmp_path), "a"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "got no tokenizer" in said


def test_pieces_are_learned_kept_and_written(tmp_path, llmnotes):
    train = f"{TRAIN} out --tokenizer bpe:264"
    assert llmnotes(train)[0] == 0
    assert (tmp_path / "out/merges.txt").exists()
    status, out, _ = llmnotes("sample out --length 9 --prompt the --seed 1")
    assert status == 0 and out[0].startswith("the")
    assert llmnotes(f"{train} --resume")[0] == 0
    other = train.replace("264", "266")
    fails(llmnotes(f"{other} --resume"), "text: got other pieces")
    fails(llmnotes(f"{TRAIN} out --resume"), "text: got other pieces")
    learn(SONG * 2 + "zz", 264).save(tmp_path / "out")
    fails(llmnotes("sample out"), "out: got other pieces than those")
    (tmp_path / "out/merges.txt").unlink()
    fails(llmnotes("sample out"), "merges.txt: cannot be read")


@pytest.mark.parametrize("bad", ["bpe", "bpe:255", "bpe:x", "4096", "word:9"])
def test_a_tokenizer_that_cannot_be_learned_takes_one_line(bad, llmnotes):
    fails(llmnotes(f"{TRAIN} out --tokenizer {bad}"), "expected bpe:N with N")


def test_too_many_pieces_take_one_line(llmnotes):
    said = llmnotes(f"{TRAIN} out --tokenizer bpe:9999")
    fails(said, "--tokenizer: got 9999, expected at most")


def test_letters_of_several_pieces_are_written_when_they_are_whole():
    pieces = commands.Pieces(learn("aaa", 256))
    ids = pieces.encode("é🙂a").tolist()
    assert list(pieces.stream(ids)) == ["é", "🙂", "a"]
    assert list(pieces.stream(ids[:3])) == ["é", "\ufffd"]
