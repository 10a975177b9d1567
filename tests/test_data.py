"""What the corpora, the vocabulary and the batches claim, proved."""

import hashlib
import http.server
import io
import sys
import threading
import warnings
from dataclasses import replace

import numpy as np
import pooch
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmnotes import corpora
from llmnotes.data import CharVocabulary, batch, split, text

IDS = torch.arange(101)
OPTIONS = {"batch_size": 3, "block": 7, "seed": 5, "step": 2}
PLAY = b"To be, or not to be\r\n"


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("LLMNOTES_DATA_DIR", raising=False)
    cache = tmp_path / "cache"
    monkeypatch.setattr(pooch, "os_cache", lambda name: cache)
    return cache


@pytest.fixture
def served(monkeypatch, empty_cache):
    """A text called `play`, served by this machine: set what is sent."""
    sent = {"body": PLAY, "status": 200, "asked": 0}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            sent["asked"] += 1
            self.send_response(sent["status"])
            self.end_headers()
            self.wfile.write(sent["body"])

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    wanted = corpora.Download(
        about="a play",
        file="play.txt",
        url=f"http://127.0.0.1:{server.server_port}/play.txt",
        sha256=hashlib.sha256(PLAY).hexdigest(),
    )
    monkeypatch.setitem(corpora.DOWNLOADS, "play", wanted)
    yield sent
    server.shutdown()
    server.server_close()


def test_the_default_text_needs_no_network(empty_cache):
    found = text()
    assert len(found) > 300_000
    assert "lambda" in found
    assert not empty_cache.exists()


def test_every_name_is_listed_with_what_it_is():
    assert list(corpora.names()) == ["python_reference", "tiny_shakespeare"]
    assert all(corpora.names().values())


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'plays'.*tiny_shakespeare"):
        text("plays")


def test_a_text_is_downloaded_once_and_kept_byte_for_byte(served, empty_cache):
    assert text("play").encode() == text("play").encode() == PLAY
    assert served["asked"] == 1
    assert [path.name for path in empty_cache.iterdir()] == ["play.txt"]


@pytest.mark.parametrize("body", [b"", b"other", PLAY[:-1]])
def test_a_wrong_or_cut_download_is_refused_and_not_kept(
    served, empty_cache, body
):
    served["body"] = body
    with pytest.raises(corpora.TextMissing, match="play: .*SHA-256.*try aga"):
        text("play")
    assert not list(empty_cache.iterdir())
    served["body"] = PLAY
    assert text("play").encode() == PLAY


def test_a_server_that_has_no_such_file_is_named(served):
    served["status"] = 404
    with pytest.raises(
        corpora.TextMissing, match="play: could not download http"
    ):
        text("play")


def test_without_a_network_the_message_says_what_to_do(served, monkeypatch):
    nobody = replace(corpora.DOWNLOADS["play"], url="http://127.0.0.1:9/x")
    monkeypatch.setitem(corpora.DOWNLOADS, "play", nobody)
    way_out = "LLMNOTES_DATA_DIR.*no network"
    with pytest.raises(corpora.TextMissing, match=way_out) as error:
        text("play")
    assert "\n" not in str(error.value)
    # Nothing chained: a traceback would show urllib3's sixty lines first.
    assert error.value.__cause__ is error.value.__context__ is None


def test_a_spoiled_copy_in_the_cache_is_fetched_again(served, empty_cache):
    text("play")
    (empty_cache / "play.txt").write_bytes(PLAY[:5])
    assert corpora.find("play") is None
    assert text("play").encode() == PLAY
    assert served["asked"] == 2


def test_finding_asks_no_network(served, empty_cache):
    assert corpora.find("play") is None
    assert served["asked"] == 0
    assert corpora.get("play") == corpora.find("play")
    assert served["asked"] == 1


def test_a_cache_that_cannot_be_written_is_named(served, empty_cache):
    empty_cache.write_text("a file where the folder should be")
    with pytest.raises(
        corpora.TextMissing, match="play: could not be kept in "
    ):
        text("play")


def test_the_data_folder_is_looked_into_first(served, tmp_path, monkeypatch):
    (tmp_path / "play.txt").write_bytes(PLAY)
    monkeypatch.setenv("LLMNOTES_DATA_DIR", str(tmp_path))
    assert text("play").encode() == PLAY
    assert served["asked"] == 0


def test_a_data_folder_without_the_file_is_no_obstacle(
    served, tmp_path, monkeypatch
):
    monkeypatch.setenv("LLMNOTES_DATA_DIR", str(tmp_path))
    assert text("play").encode() == PLAY


def test_another_file_of_that_name_is_refused_and_left_alone(
    served, tmp_path, monkeypatch
):
    (tmp_path / "play.txt").write_bytes(b"mine")
    monkeypatch.setenv("LLMNOTES_DATA_DIR", str(tmp_path))
    with pytest.raises(corpora.TextMissing, match="play.txt: got SHA-256"):
        text("play")
    assert (tmp_path / "play.txt").read_bytes() == b"mine"


def test_tiny_shakespeare_has_the_sizes_everyone_quotes(tiny_shakespeare):
    play = tiny_shakespeare
    ids = CharVocabulary(play).encode(play)
    assert len(play) == len(ids) == 1_115_394
    assert CharVocabulary(play).size == 65
    assert [len(part) for part in split(ids)] == [1_003_854, 111_540]


@given(st.text(min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_decoding_undoes_encoding(written):
    vocabulary = CharVocabulary(written)
    said = written[::-1] + written[:3]
    ids = vocabulary.encode(said)
    assert ids.dtype == torch.int64
    assert vocabulary.decode(ids) == said
    assert vocabulary.size == len(set(written))
    assert all(0 <= i < vocabulary.size for i in ids.tolist())


def test_tokens_are_numbered_in_code_point_order():
    assert CharVocabulary("cab\n").encode("\nabc").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("stranger", ["!", "z", "é", "😀"])
def test_an_unknown_character_is_named_with_its_place(stranger):
    with pytest.raises(ValueError, match=f"got '{stranger}' at position 2"):
        CharVocabulary("abc").encode(f"ab{stranger}c")


def test_a_byte_that_is_no_text_is_not_taken_for_a_question_mark():
    with pytest.raises(ValueError, match="at position 1"):
        CharVocabulary("ab?").encode("a\udcff")


def test_an_empty_text_has_no_vocabulary():
    with pytest.raises(ValueError, match="text: got an empty string"):
        CharVocabulary("")


def test_the_two_parts_are_the_whole_in_order():
    train, validation = split(IDS, 0.7)
    assert len(train) == 70
    assert torch.equal(torch.cat([train, validation]), IDS)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(ValueError, match="share: got"):
        split(IDS, share)


def test_targets_are_the_inputs_one_token_later():
    inputs, targets = batch(IDS, **OPTIONS)
    assert inputs.shape == targets.shape == (3, 7)
    assert torch.equal(targets, inputs + 1)
    assert torch.equal(inputs[:, 1:], inputs[:, :-1] + 1)


def test_a_batch_is_a_pure_function_of_seed_and_step():
    first = batch(IDS, **OPTIONS)
    torch.manual_seed(0), np.random.seed(0)
    again = batch(IDS, **OPTIONS)
    assert torch.equal(torch.stack(first), torch.stack(again))


def test_a_batch_is_the_same_for_ever():
    # Raw Philox bits are a published function; these are not golden means.
    inputs, _ = batch(torch.arange(10**6), **OPTIONS)
    raw = np.random.Philox(key=[5, 2]).random_raw(3)
    assert inputs[:, 0].tolist() == [int(bits) % (10**6 - 7) for bits in raw]


def test_another_seed_and_another_step_draw_other_blocks():
    ids = torch.arange(10**6)
    drawn = [
        tuple(batch(ids, **OPTIONS | change)[0][:, 0].tolist())
        for change in ({}, {"seed": 6}, {"step": 3}, {"seed": 2, "step": 5})
    ]
    assert len(set(drawn)) == 4


def test_every_block_can_be_drawn_and_none_beyond_the_end():
    ids = torch.arange(11)
    starts = set()
    for step in range(40):
        inputs, targets = batch(ids, **OPTIONS | {"step": step})
        starts |= set(inputs[:, 0].tolist())
        assert targets.max() <= 10
    assert starts == {0, 1, 2, 3}


def test_a_text_of_one_block_and_one_token_is_just_enough():
    inputs, _ = batch(IDS[:8], **OPTIONS)
    assert torch.equal(inputs, IDS[:7].expand(3, 7))
    with pytest.raises(ValueError, match="ids: got 7 tokens, expected at l"):
        batch(IDS[:7], **OPTIONS)


@pytest.mark.parametrize("block", [0, -1])
def test_an_empty_block_is_refused(block):
    with pytest.raises(ValueError, match="block: got"):
        batch(IDS, **OPTIONS | {"block": block})


# Token numbers of any kind

KINDS = {
    **{
        str(kind): lambda ids, kind=kind: ids.to(kind)
        for kind in (
            torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32,
            torch.uint32,
        )
    },
    "numpy uint16": lambda ids: ids.numpy().astype("<u2"),
    "other byte order": lambda ids: ids.numpy().astype(">i4"),
    "read only": lambda ids: np.frombuffer(ids.numpy().tobytes(), np.int64),
    "backwards": lambda ids: ids.numpy()[::-1].copy()[::-1],
    "every other": lambda ids: ids.repeat_interleave(2)[::2],
    "list": lambda ids: ids.tolist(),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_token_numbers_of_any_whole_type_give_the_same_batch(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = batch(kind(IDS), **OPTIONS)
    for x, expected in zip(found, batch(IDS, **OPTIONS), strict=True):
        assert x.dtype == torch.int64
        assert torch.equal(x, expected)
    assert len(split(kind(IDS), 0.7)[0]) == 70


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (IDS.float(), "torch.float32, expected whole numbers"),
        (IDS.bool(), "torch.bool, expected whole numbers"),
        (IDS.numpy() / 1, "float64, expected whole numbers"),
        (np.array(["a", "b"]), "<U1, expected whole numbers"),
        (IDS[None], r"shape \(1, 101\), expected one row"),
        (torch.tensor(3), r"shape \(\), expected one row"),
    ],
)
def test_what_is_no_row_of_whole_numbers_is_refused_by_name(ids, said):
    with pytest.raises(ValueError, match=f"^ids: got {said}"):
        batch(ids, **OPTIONS)


@pytest.mark.parametrize("wrong", [-1, -100, 3, 2**40])
def test_a_number_without_a_character_is_refused_with_its_place(wrong):
    """-100 is PyTorch's label for no target, and no hundredth from the end."""
    vocabulary = CharVocabulary("abc" + "".join(map(chr, range(200, 400))))
    vocabulary = vocabulary if wrong == -100 else CharVocabulary("abc")
    with pytest.raises(ValueError, match=f"^ids: got {wrong} at position 1, "):
        vocabulary.decode(torch.tensor([0, wrong]))


def test_decoding_takes_any_whole_type_and_nothing_else():
    vocabulary = CharVocabulary("abc")
    for ids in (
        torch.tensor([2, 0], dtype=torch.uint8), np.array([2, 0], "u2"), [2, 0]
    ):  # fmt: skip
        assert vocabulary.decode(ids) == "ca"
    assert vocabulary.decode([]) == ""
    with pytest.raises(ValueError, match="^ids: got float64, expected whole"):
        vocabulary.decode(np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"^ids: got shape \(1, 2\), expect"):
        vocabulary.decode(torch.tensor([[0, 1]]))


# Texts of one's own


@pytest.mark.parametrize("order", ["utf-16", "utf-16-be"])
def test_a_text_in_utf_16_is_told_from_any_other_mistake(tmp_path, order):
    own = tmp_path / "own.txt"
    mark = "" if order == "utf-16" else "\ufeff"
    own.write_bytes(f"{mark}été".encode(order))
    with pytest.raises(ValueError, match="UTF-8, not in UTF-16, which this l"):
        text(str(own))


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_a_text_is_fetched_where_stderr_is_gone(served, monkeypatch, stream):
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    assert text("play").encode() == PLAY
