"""SentencePiece's BPE against its own library, on Mistral's vocabularies."""

import functools
import io
import random
import time

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from llmnotes.foundations.tokenizers import (
    SentencePieceBPE,
    Unigram,
    mistral_model,
)
from llmnotes.foundations.tokenizers.model_file import (
    BYTE,
    NORMAL,
    UNKNOWN,
    UNUSED,
    ModelFile,
    Piece,
    field,
    fields,
    write,
)
from tests.foundations.tokenizers.alphabets import ODD, TEXT

VERSIONS = pytest.mark.parametrize("version", ["v1", "v3"])
OWN = " [REFERENCE_DOC_19][INST]</s><0x41>[REFERENCE_DOC_1"


@functools.cache
def both(version):
    path = mistral_model(version)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return SentencePieceBPE.from_model(path), theirs


def same(version, text):
    ours, theirs = both(version)
    ids = ours.encode(text)
    assert ids == theirs.encode(text)
    assert ours.pieces(text) == theirs.encode(text, out_type=str)
    assert ours.decode(ids) == theirs.decode(ids) == text.replace("▁", " ")


@VERSIONS
@pytest.mark.parametrize("text", [*ODD, OWN])
def test_odd_texts_get_its_pieces_and_come_back(version, text):
    same(version, text)


@VERSIONS
@settings(max_examples=150, deadline=None)
@given(text=TEXT)
def test_any_text_gets_its_ids_and_comes_back(version, text):
    same(version, text)


@VERSIONS
def test_all_of_tiny_shakespeare(version, tiny_shakespeare):
    ours, theirs = both(version)
    ids = ours.encode(tiny_shakespeare)
    assert ids == theirs.encode(tiny_shakespeare)
    assert ours.decode(ids) == tiny_shakespeare


def test_100_kb_without_a_space_get_its_ids_and_take_no_square():
    draw = random.Random(0)
    text = "".join(draw.choices("abcdefghijklmnop", k=100_000))
    ours, theirs = both("v3")
    start = time.process_time()
    ids = ours.encode(text)
    assert time.process_time() - start < 60  # a square would take hours
    assert ids == theirs.encode(text)


@VERSIONS
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_ids_are_decoded_as_by_it(version, data):
    ours, theirs = both(version)
    some = st.integers(0, ours.size - 1) | st.integers(0, 1100)
    ids = data.draw(st.lists(some, max_size=10))
    assert ours.decode(ids) == theirs.decode(ids)


def learned(**options):
    """A small model that its own library trains."""
    body = io.BytesIO()
    text = "low lower lowest newest widest, aa bb  cab é".split("|") * 9
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text), model_writer=body, minloglevel=2,
        normalization_rule_name="identity", hard_vocab_limit=False,
        **options,
    )  # fmt: skip
    return body.getvalue()


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("spaces", [True, False])
@pytest.mark.parametrize("kind", [SentencePieceBPE, Unigram])
def test_spaces_and_unknown_letters_are_those_of_its_options(
    prefix, spaces, kind, tmp_path
):
    path = tmp_path / "toy.model"
    name = "bpe" if kind is SentencePieceBPE else "unigram"
    body = learned(
        model_type=name, vocab_size=40, add_dummy_prefix=prefix,
        remove_extra_whitespaces=spaces,
    )  # fmt: skip
    path.write_bytes(body)
    ours = kind.from_model(path)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=body)
    for text in (*ODD, "  lower  xyzw é  ", "zz lowest▁", "▁"):
        ids = ours.encode(text)
        assert ids == theirs.encode(text)
        assert ours.decode(ids) == theirs.decode(ids)


TOY = ModelFile(
    (Piece("<unk>", 0.0, UNKNOWN), Piece("ab", -1.0), Piece("a", -3.0),
     Piece("bc", -0.5), Piece("b", -4.0), Piece("c", -5.0)),
    SentencePieceBPE.type, space_before=False, spare_spaces=False,
)  # fmt: skip


def test_by_hand_the_best_score_is_joined_first():
    toy = SentencePieceBPE(TOY)
    assert toy.pieces("abc") == ["a", "bc"]
    assert toy.pieces("abab") == ["ab", "ab"]
    assert toy.encode("axyb") == [2, 0, 4]  # a run of unknown is one


def spoiled(tmp_path, model=TOY, cut=None, add=b""):
    path = tmp_path / "toy.model"
    write(path, model)
    path.write_bytes(path.read_bytes()[:cut] + add)
    return path


def test_a_file_cut_at_any_byte_is_refused(tmp_path):
    whole = len(spoiled(tmp_path).read_bytes())
    assert SentencePieceBPE.from_model(spoiled(tmp_path)).model == TOY
    normaliser = 2 + 4 + 2 + len("identity")
    for cut in range(whole - normaliser):
        with pytest.raises(ValueError, match="toy.model: "):
            SentencePieceBPE.from_model(spoiled(tmp_path, cut=cut))


def changed(**change):
    return ModelFile(**{**TOY.__dict__, **change})


BAD = {
    "model_type: got unigram, expected bpe": (changed(type=1), b""),
    "model_type: got word, expected bpe": (changed(type=3), b""),
    "normalizer: got 'nmt_nfkc', whose table changes letters; expected": (
        TOY, field(3, field(1, b"nmt_nfkc") + field(2, b"table")),
    ),
    "treat_whitespace_as_suffix: got 1, expected 0": (
        TOY, field(2, field(3, 2) + field(24, 1)),
    ),
    "pieces: got 'x' of kind UNUSED, expected none": (
        changed(pieces=(*TOY.pieces, Piece("x", 0.0, UNUSED))), b"",
    ),
    "pieces: got no <0x00>, expected all 256 bytes": (
        changed(byte_fallback=True), b"",
    ),
    "pieces: got no unknown piece, expected one": (
        changed(pieces=TOY.pieces[1:]), b"",
    ),
    "got 6 pieces, expected 7": (
        TOY, field(2, field(3, 2) + field(4, 7)),
    ),
    "got wire type 3, expected 0, 1, 2 or 5": (TOY, b"\x0b"),
    "got an unfinished number, expected its last": (TOY, b"\xff" * 12),
}  # fmt: skip


@pytest.mark.parametrize(("message", "change"), BAD.items())
def test_files_that_are_not_right_are_named(message, change, tmp_path):
    model, add = change
    path = spoiled(tmp_path, model, add=add)
    with pytest.raises(ValueError) as error:
        SentencePieceBPE.from_model(path)
    assert str(error.value).startswith(f"{path}: {message}")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_are_read_as_a_model_nor_end_otherwise(tmp_path_factory, b):
    path = tmp_path_factory.getbasetemp() / "any.model"
    path.write_bytes(b)
    with pytest.raises(ValueError, match="any.model: "):
        SentencePieceBPE.from_model(path)


@given(st.integers(1, 2000), st.integers(0, 2**63) | st.binary(max_size=300))
def test_a_field_is_read_as_it_was_written(number, value):
    assert list(fields(field(number, value))) == [(number, value)]


def test_its_library_reads_what_we_write(tmp_path):
    path = spoiled(tmp_path)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    for text in ("abc", "abab", "axyb"):
        assert theirs.encode(text) == SentencePieceBPE(TOY).encode(text)


def test_a_missing_file_half_letters_and_ids_are_named(tmp_path):
    with pytest.raises(ValueError, match="gone: cannot be read: No such"):
        SentencePieceBPE.from_model(tmp_path / "gone")
    ours, _ = both("v1")
    with pytest.raises(ValueError, match=r"^text: got '.ud83d' at position 1"):
        ours.encode("a\ud83d")
    for bad in (-1, 32_000):
        message = f"^ids: got {bad} at position 1, expected 0 to 31999$"
        with pytest.raises(ValueError, match=message):
            ours.decode([5, bad])
    with pytest.raises(ValueError, match="^version: got 'v9', expected v1 or"):
        mistral_model("v9")


def test_every_byte_is_a_piece():
    ours, _ = both("v3")
    kinds = [ours.model.pieces[i].kind for i in ours.bytes]
    assert kinds == [BYTE] * 256 and Piece("a").kind == NORMAL
