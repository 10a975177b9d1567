"""What the command line does once its arguments are read.

Legend
about = the model's name, its shape, and its characters or the digest of its
        pieces; every checkpoint holds them, so that `sample` needs the
        folder only. Pieces lie beside the checkpoints, in GPT-2's files.
"""

import argparse
import codecs
import hashlib
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from pkgutil import resolve_name
from time import perf_counter

import torch
from torch import Tensor, nn

from llmnotes import checkpoint, data, folders, presets
from llmnotes.foundations.tokenizers import ByteBPE
from llmnotes.foundations.tokenizers import train as learn
from llmnotes.models import kv_cache
from llmnotes.train import train
from llmnotes.train_config import TrainConfig
from llmnotes.transformer.gpt import sampling

SAMPLING = "temperature", "top_k", "top_p", "min_p"
UNNAMED = "gpt"  # the model of checkpoints that do not say which


def device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train_model(
    options: argparse.Namespace, config: TrainConfig, text: str
) -> None:
    """`llmnotes train`; under torchrun, on all its ranks together."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return train_on(device(), options, config, text, train)
    from llmnotes import ranked  # and here, for torchrun is rare
    from llmnotes.parallel.data_parallel import join

    if os.environ.get("RANK") != "0":
        warnings.simplefilter("ignore")  # rank 0 says the same
    with join() as place:
        train_on(place, options, config, text, ranked.train)


def train_on(place: torch.device, options, config, text, train) -> None:
    """Train on a device; of several processes the first one writes."""
    first = os.environ.get("RANK", "0") == "0"
    torch.set_num_threads(options.threads)
    entry = presets.MODELS[options.model]
    vocabulary = vocabulary_for(options, text)
    shape = resolve_name(entry.preset(options.preset).shape)
    shape = replace(shape, vocab_size=vocabulary.size)
    about = {"model": options.model, "shape": asdict(shape)}
    about |= vocabulary_about(vocabulary)
    if options.resume and checkpoint.steps(options.out):
        check_same(options.out, about)
    parts = pieces(options.data, vocabulary.encode(text), config.block)
    if isinstance(vocabulary, Pieces) and first:
        vocabulary.tokenizer.save(options.out)
    torch.manual_seed(config.seed)
    history = train(
        model_for(entry, config)(shape).to(place),
        *parts,
        config,
        task=resolve_name(entry.task),
        out=options.out,
        resume=options.resume,
        about=about,
    )
    if first:
        print(
            f"final validation loss {history.final_loss:.4f}, checkpoint "
            f"{checkpoint.latest(options.out)}"
        )


class Pieces:
    """A vocabulary of byte pairs: as `data.CharVocabulary`, but of pieces."""

    def __init__(self, tokenizer: ByteBPE):
        self.tokenizer = tokenizer
        self.symbols = "\n"  # what a text may begin with

    @property
    def size(self) -> int:
        """Number of different tokens."""
        return self.tokenizer.size

    @property
    def digest(self) -> str:
        """What the pieces are recognised by."""
        return hashlib.sha256(repr(self.tokenizer.merges).encode()).hexdigest()

    def encode(self, text: str) -> Tensor:
        """Token numbers of a text."""
        return torch.from_numpy(self.tokenizer.array(text)).long()

    def decode(self, ids: Tensor) -> str:
        """The text of token numbers."""
        return self.tokenizer.decode(ids.tolist())

    def stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Letters as soon as all their bytes are there."""
        letters = codecs.getincrementaldecoder("utf-8")("replace")
        for i in ids:
            yield from letters.decode(self.tokenizer.vocabulary[i])
        yield from letters.decode(b"", final=True)


def vocabulary_for(
    options: argparse.Namespace, text: str
) -> data.CharVocabulary | Pieces:
    """What the model is to read: characters, or pieces learned from a text.

    They are learned from the part that is trained on.
    """
    if options.tokenizer is None:
        return data.CharVocabulary(text)
    try:
        known = text[: len(data.split(range(len(text)))[0])]
        return Pieces(learn(known, options.tokenizer))
    except ValueError as error:
        why = str(error).removeprefix("vocabulary: ")
        raise ValueError(f"--tokenizer: {why}") from error


def vocabulary_about(vocabulary) -> dict:
    """What a checkpoint says of it."""
    if isinstance(vocabulary, Pieces):
        return {"pieces": vocabulary.digest}
    return {"symbols": vocabulary.symbols}


def pieces_of(folder: str, digest: str) -> Pieces:
    """The pieces of a run, which lie in its folder."""
    found = Pieces(ByteBPE.from_gpt2(folder))
    if found.digest != digest:
        raise ValueError(
            f"{folder}: got other pieces than those that the run was trained "
            "with"
        )
    return found


def pieces(name: str, ids: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """What to train on and what to validate on, each at least a block."""
    parts = data.split(ids)
    if min(map(len, parts)) <= block:
        raise ValueError(
            f"--data: got {len(ids)} characters in {name}, {len(parts[1])} "
            f"of them to validate on; expected at least {block + 1} there, a "
            "block and the character after it"
        )
    return parts


def check_same(folder: str, about: dict) -> None:
    """Raise `ValueError` if a folder's run has another model or characters.

    Without this, a text with è wherever the run's has é would be the same
    numbers, hence the same run.
    """
    was = checkpoint.read(folder).get("about")
    was = {"model": UNNAMED, **was} if isinstance(was, dict) else about
    began = f"with which the run in {folder} began; give that, or another"
    if was["model"] != about["model"]:
        raise ValueError(
            f"model: got {about['model']!r}, expected {was['model']!r}, "
            f"{began} folder"
        )
    for what, name in (("symbols", "characters"), ("pieces", "pieces")):
        if what in was and was[what] != about.get(what):
            raise ValueError(
                f"text: got other {name} than those {began} folder"
            )


def model_for(entry: presets.Model, config: TrainConfig) -> type[nn.Module]:
    """The class that is quickest; all have the same weights.

    The quick one knows float32 on the CPU only, and has nothing for
    torch.compile to look into.
    """
    plain = config.dtype == "float32" and not config.compile
    quick = entry.quick and plain and device().type == "cpu"
    return resolve_name(entry.quick if quick else entry.build)


def sample(options: argparse.Namespace) -> None:
    """`llmnotes sample`."""
    model, vocabulary = recall(options.run)
    if options.adapter is not None:
        model = with_adapter(model, options.adapter)
    prompt = options.prompt
    if prompt is None:
        prompt = "\n" if "\n" in vocabulary.symbols else vocabulary.symbols[0]
    ids = known(vocabulary, "--prompt", prompt)[None].to(device())
    for stop in options.stop:  # one that cannot be written is a mistake
        known(vocabulary, "--stop", stop)
    pace = Pace()
    new = pace.watch(drawn(model, ids, options))
    print(prompt, end="", flush=True)
    try:
        for part in until(letters(vocabulary, new), options.stop):
            print(part, end="", flush=True)
    finally:  # also after Ctrl-C
        print()
    print(pace, file=sys.stderr)


def with_adapter(model: nn.Module, folder: str) -> nn.Module:
    """The model with an adapter in its weights."""
    from llmnotes.adaptation import lora  # not above: few ask for one

    return lora.unload(lora.merge(lora.load_adapter(model, folder)))


def quantize(options: argparse.Namespace) -> None:
    """`llmnotes quantize`."""
    # Not above: it imports numba.
    from llmnotes.adaptation.quantization import gguf, saved

    gguf.check_path(Path(options.out))  # before all work, not after
    if options.kind not in saved.KINDS:
        raise ValueError(
            f"--kind: got {options.kind!r}, expected one of "
            f"{', '.join(saved.KINDS)}"
        )
    model, vocabulary = recall(options.run)
    about = {"model": UNNAMED, **checkpoint.read(options.run)["about"]}
    tokenizer = getattr(vocabulary, "tokenizer", None)
    rest = about, options.kind, tokenizer
    tensors = saved.save(options.out, model, *rest)
    print(f"{options.out}: {saved.summary(tensors)}")


def known(
    vocabulary: data.CharVocabulary | Pieces | folders.Vocabulary,
    option: str,
    text: str,
) -> Tensor:
    """Token numbers of what an option says."""
    try:
        return vocabulary.encode(text)
    except ValueError as error:
        why = str(error).removeprefix("text: ")
        raise ValueError(f"{option}: {why}") from error


def drawn(model, ids, options) -> Iterator[Tensor]:
    """One token after another, (1,) each.

    With a cache, if the model can read all of the text; else it is shown as
    much of the end as it can read, again for every token.
    """
    generator = torch.Generator(device()).manual_seed(options.seed)
    choice = {name: getattr(options, name) for name in SAMPLING}
    longest = getattr(model, "n_positions", None)
    read = ids.shape[1] + options.length - 1
    way = sampling if longest and read > longest else kv_cache
    return way.stream(
        model, ids, options.length, generator=generator, **choice
    )


def letters(vocabulary, new: Iterable[Tensor]) -> Iterator[str]:
    """Letter after letter, as soon as its tokens are there."""
    if isinstance(vocabulary, data.CharVocabulary):
        return map(vocabulary.decode, new)
    return vocabulary.stream(map(int, new))


class Pace:
    """When tokens came: how long the first took, and how many a second."""

    def __init__(self):
        self.begun, self.times = perf_counter(), []

    def watch(self, new: Iterable[Tensor]) -> Iterator[Tensor]:
        """Hand tokens on."""
        for token in new:
            self.times.append(perf_counter())
            yield token

    def __str__(self) -> str:
        if not self.times:
            return "no tokens"
        first, later = self.times[0], len(self.times) - 1
        said = f"first token after {first - self.begun:.2f} s"
        spent = self.times[-1] - first
        return f"{said}, then {later / spent:.0f} tokens/s" if spent else said


def until(letters: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Hand letters on and end before the first of `stops`.

    What may be the beginning of one waits until it is clear.
    """
    held = ""
    for letter in letters:
        held += letter
        if any(held.endswith(stop) for stop in stops):
            found = max((s for s in stops if held.endswith(s)), key=len)
            yield held.removesuffix(found)
            return
        waits = max(
            (n for s in stops for n in range(len(s)) if held.endswith(s[:n])),
            default=0,
        )
        free = len(held) - waits
        yield held[:free]
        held = held[free:]
    yield held


def recall(
    folder: str,
) -> tuple[nn.Module, data.CharVocabulary | Pieces | folders.Vocabulary]:
    """The trained model in a folder, and the characters or pieces it reads."""
    if Path(folder).is_file():
        from llmnotes.adaptation.quantization import saved  # imports numba

        model, about, tokenizer = saved.load(folder)
        vocabulary = tokenizer and Pieces(tokenizer)
        vocabulary = vocabulary or data.CharVocabulary(about["symbols"])
        return model.to(device()), vocabulary
    if folders.theirs(folder):
        model, vocabulary = folders.recall(folder)
        return model.to(device()), vocabulary
    about = checkpoint.read(folder).get("about")
    name = about.get("model", UNNAMED) if isinstance(about, dict) else UNNAMED
    try:
        entry = presets.model(name)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    try:
        shape = resolve_name(entry.config)(**about["shape"])
        digest = about.get("pieces")
        symbols = None if digest else about["symbols"]
        vocabulary = symbols and data.CharVocabulary(symbols)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder}: got weights without shape and characters, expected "
            "a folder that llmnotes train wrote"
        ) from error
    vocabulary = vocabulary or pieces_of(folder, digest)
    model = resolve_name(entry.build)(shape)
    checkpoint.load(folder, model)
    return model.to(device()), vocabulary
