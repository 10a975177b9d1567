"""What the tokenizers chapter measures: numbers, languages, bits, speed."""

import math
import statistics
from collections import Counter
from itertools import pairwise

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from llmnotes import corpora, data
from llmnotes.foundations.tokenizers import (
    SentencePieceBPE,
    bits_per_byte,
    mistral_model,
    train,
)
from llmnotes.foundations.tokenizers.bpe import PlainBPE
from tests.foundations.tokenizers.alphabets import openai, real_gpt2

WORD = " tokenizers"
# "The train leaves at seven, and my friend has already bought the tickets."
SENTENCES = {
    "English": "The train leaves at seven, and my friend has already bought "
    "the tickets.",
    "German": "Der Zug fährt um sieben, und mein Freund hat die Fahrkarten "
    "schon gekauft.",
    "Spanish": "El tren sale a las siete, y mi amigo ya ha comprado los "
    "billetes.",
    "Turkish": "Tren yedide kalkıyor ve arkadaşım biletleri çoktan aldı.",
    "Russian": "Поезд отправляется в семь, и мой друг уже купил билеты.",
    "Greek": "Το τρένο φεύγει στις επτά και ο φίλος μου έχει ήδη αγοράσει τα "
    "εισιτήρια.",
    "Hindi": "ट्रेन सात बजे निकलती है और मेरे दोस्त ने टिकट पहले ही खरीद लिए हैं।",
    "Japanese": "電車は七時に出発し、友達はもう切符を買いました。",
}


def mistral():
    return SentencePieceBPE.from_model(mistral_model("v3"))


def bench_how_a_word_is_joined(record):
    """Every joint of one word, as GPT-2 makes them."""
    parts = [bytes([b]) for b in WORD.encode()]
    rows = [(0, "|".join(map(shown, parts)), "", 0)]
    while True:
        ranks = [
            (real_gpt2().rank(*pair), i)
            for i, pair in enumerate(zip(parts, parts[1:], strict=False))
            if real_gpt2().rank(*pair) is not None
        ]
        if not ranks:
            break
        rank, i = min(ranks)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
        row = "|".join(map(shown, parts))
        rows.append((len(rows), row, shown(parts[i]), rank))
    assert parts == real_gpt2().pieces(WORD)
    record(
        "joined",
        kind="exact",
        title=f"How GPT-2 joins the bytes of “{WORD}”, joint by joint",
        prediction="The shortest and commonest pieces first.",
        columns={"step": "", "pieces": "", "new": "", "rank": ""},
        rows=rows,
    )


def shown(piece):
    return piece.decode().replace(" ", "·")


def bench_pieces_of_numbers(record):
    rows = []
    for name, tokenizer in (("GPT-2", real_gpt2()), ("Mistral", mistral())):
        space = len(tokenizer.encode("")) + (name == "Mistral")
        counts = Counter(
            (len(str(n)), len(tokenizer.encode(str(n))) - space)
            for n in range(10_000)
        )
        rows += [
            (name, digits, pieces, count)
            for (digits, pieces), count in sorted(counts.items())
        ]
    record(
        "numbers",
        kind="exact",
        title="Into how many pieces the numbers from 0 to 9,999 fall",
        prediction=(
            "Mistral: as many as there are digits. GPT-2: those below 100 "
            "are one piece, most below 1,000 too, and of those with four "
            "digits the years and the round ones; the others are two."
        ),
        columns={"tokenizer": "", "digits": "", "pieces": "", "numbers": ""},
        rows=rows,
    )


def bench_one_sentence_in_eight_languages(record):
    rows = []
    for language, text in SENTENCES.items():
        for name, tokenizer in (
            ("GPT-2", real_gpt2()),
            ("Mistral", mistral()),
        ):
            ids = tokenizer.encode(text)
            rows.append(
                (language, name, len(text), len(text.encode()), len(ids),
                 round(len(ids) / len(text), 3))
            )  # fmt: skip
    record(
        "languages",
        kind="exact",
        title="One sentence in eight languages, in tokens",
        prediction=(
            "English costs a token for four characters. Languages in Latin "
            "letters cost twice that, other alphabets one to two tokens for "
            "each character with GPT-2, Hindi most, since a letter is three "
            "bytes; Mistral is about half as dear there."
        ),
        columns={
            "language": "", "tokenizer": "", "characters": "", "bytes": "",
            "tokens": "", "share": "",
        },
        labels={"share": "tokens per character"},
        rows=rows,
    )  # fmt: skip


@pytest.mark.usefixtures("tiny_shakespeare")
def bench_pieces_that_never_come(record):
    text = corpora.text("tiny_shakespeare")
    rows = []
    for name, tokenizer in (
        ("GPT-2's", real_gpt2()),
        ("learned from this text", train(text, 4096)),
    ):
        came = set(tokenizer.encode(text))
        pieces = len(tokenizer.ids)
        never = pieces - len(came)
        rows.append((name, pieces, never, round(100 * never / pieces, 1)))
    record(
        "unseen",
        kind="exact",
        title="Pieces of a vocabulary that tiny Shakespeare never holds",
        prediction=(
            "Of GPT-2's four fifths. Of those learned from the same text "
            "about 170 bytes that it does not hold, and some hundred pieces "
            "that were only steps on the way to longer ones."
        ),
        columns={
            "vocabulary": "", "pieces": "", "never": "", "share": "%",
        },
        rows=rows,
    )  # fmt: skip


@pytest.mark.usefixtures("tiny_shakespeare")
def bench_what_follows_a_space_that_stands_alone(record):
    text = corpora.text("tiny_shakespeare") + corpora.text()
    pieces = real_gpt2().pieces(text)
    pairs = list(zip(pieces, pieces[1:], strict=False))
    alone = [b for a, b in pairs if a == b" "]
    rows = [
        ("pieces in all", len(pieces)),
        ("pieces that begin with a space and a letter",
         sum(p[:1] == b" " and p[1:2].isalpha() for p in pieces)),
        ("a space alone", len(alone)),
        ("a space alone, then a letter",
         sum(b[:1].isalpha() for b in alone)),
    ]  # fmt: skip
    record(
        "spaces",
        kind="exact",
        title="Where spaces stand in two texts, in GPT-2's pieces",
        prediction=(
            "No word follows a space that stands alone: the pattern gives "
            "the space to the word behind it."
        ),
        columns={"what": "", "count": ""},
        rows=rows,
    )


HEAVY = 4.0  # how many occurrences the rarer guess is worth


def pair_loss(before, after, size):
    """Mean nats a token of counted pairs, mixed with counted tokens."""
    single, pairs = Counter(before), Counter(pairwise(before))
    total = 0.0
    for a, b in pairwise(after):
        alone = (single[b] + 1) / (len(before) + size)
        total -= math.log((pairs[a, b] + HEAVY * alone)
                          / (single[a] + HEAVY))  # fmt: skip
    return total / (len(after) - 1)


@pytest.mark.usefixtures("tiny_shakespeare")
def bench_bits_per_byte(record):
    text = corpora.text("tiny_shakespeare")
    known, new = (
        text[part.start : part.stop] for part in data.split(range(len(text)))
    )
    rows = []
    for size in (256, 512, 1024, 2048, 4096, 8192):
        tokenizer = train(known, size)
        ids = tokenizer.encode(new)
        loss = pair_loss(tokenizer.encode(known), ids, size)
        first = tokenizer.decode(ids[:1])
        bits = bits_per_byte(loss, ids[1:], new.removeprefix(first))
        per_token = len(new.encode()) / len(ids)
        rows.append(
            (size, round(per_token, 3), round(loss, 4),
             round(math.exp(loss), 2), round(bits, 4))
        )  # fmt: skip
    record(
        "bits",
        kind="tolerance",
        tolerance=1e-3,
        title="One model, pairs of tokens counted, with six vocabularies",
        prediction=(
            "The loss per token rises with every larger vocabulary, from "
            "2.5 to above 5, because a longer piece is more to guess. Bits "
            "per byte fall from 3.6, since two pieces hold more letters, "
            "until pairs become too rare to be counted: lowest at about "
            "1,024, at 8,192 higher again."
        ),
        columns={
            "vocabulary": "", "bytes": "", "loss": "nats", "perplexity": "",
            "bits": "",
        },
        labels={
            "vocabulary": "pieces in the vocabulary",
            "bytes": "bytes per token",
            "loss": "loss per token",
            "bits": "bits per byte",
        },
        rows=rows,
    )  # fmt: skip


def hugging_face(text, vocabulary):
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    found.train_from_iterator([text], trainer)
    return found


def timed(seconds, size, base):
    """Rows: who, seconds, MB/s, and how many times as quick as `base`."""
    middle = {who: statistics.median(times) for who, times in seconds.items()}
    return [
        (who, round(t, 5), round(size / t / 1e6, 2),
         round(middle[base] / t, 2))
        for who, t in middle.items()
    ]  # fmt: skip


@pytest.mark.timing
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_encoding(record, race, monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    text = corpora.text("tiny_shakespeare")
    plain = PlainBPE(real_gpt2().ids)
    assert real_gpt2().encode(text) == openai().encode_ordinary(text)
    assert plain.encode(text) == real_gpt2().encode(text)
    contestants = {
        "tiktoken": lambda: openai().encode_ordinary(text),
        "ours": lambda: real_gpt2().plain(text),
        "tiktoken, to an array": lambda: openai().encode_to_numpy(text),
        "ours, to an array": lambda: real_gpt2().array(text),
        "ours, plain": lambda: plain.plain(text),
    }
    rows = timed(race(contestants, rounds=5), len(text.encode()), "tiktoken")
    record(
        "encoding",
        kind="timing",
        title="Tiny Shakespeare into GPT-2's ids, one thread",
        prediction=(
            "The compiled one at least three times as quick as tiktoken, "
            "because it needs no general regular expression and looks every "
            "word up that it has met; the plain one, with its own words "
            "cached, ten times slower than tiktoken."
        ),
        columns={"who": "", "seconds": "s", "speed": "MB/s", "times": "×"},
        labels={"times": "as quick as tiktoken"},
        rows=rows,
    )


@pytest.mark.timing
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_training(record, race, monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    text = corpora.text("tiny_shakespeare")
    contestants = {
        "Hugging Face": lambda: hugging_face(text, 4096),
        "ours": lambda: train(text, 4096),
    }
    rows = timed(
        race(contestants, rounds=5), len(text.encode()), "Hugging Face"
    )
    record(
        "training",
        kind="timing",
        title="4,096 pieces learned from tiny Shakespeare, one thread",
        prediction=(
            "At least twice as quick as Hugging Face's, because a joint "
            "looks at its own words only and nothing is counted anew."
        ),
        columns={"who": "", "seconds": "s", "speed": "MB/s", "times": "×"},
        labels={"times": "as quick as Hugging Face's"},
        rows=rows,
    )


@pytest.mark.timing
def bench_words_without_an_end(record, race):
    """Where the text is one word, and tiktoken looks at all its pairs."""
    rows = []
    contestants = {}
    for length in (1_000, 4_000, 16_000, 64_000):
        text = ("abcdefghij" * length)[:length]
        contestants["tiktoken", length] = lambda text=text: (
            openai().encode_ordinary(text)
        )
        contestants["ours", length] = lambda text=text: real_gpt2().plain(text)
    for (who, length), times in race(contestants, rounds=3).items():
        rows.append((who, length, round(statistics.median(times), 6)))
    record(
        "endless",
        kind="timing",
        title="One word of many letters",
        prediction=(
            "Ours grows with n log n. Tiktoken's grows with the square up "
            "to some length, and is worse than ours from 1,000 letters on."
        ),
        columns={"who": "", "letters": "", "seconds": "s"},
        rows=rows,
    )
