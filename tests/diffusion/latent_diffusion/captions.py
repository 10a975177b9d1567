"""A small vocabulary of CLIP's kind, theirs and ours."""

import json

from transformers import CLIPTokenizer as Theirs

from llmnotes.diffusion.latent_diffusion.tokens import END, LAST, START
from llmnotes.foundations.tokenizers.files import SHOWN

WORDS = "a small red circle left of large blue square 's in on don"
LONGEST = 9


def vocabulary():
    """All bytes, alone and at the end of a word, and some words of joints."""
    letters = sorted(SHOWN.values())
    pieces = letters + [letter + LAST for letter in letters]
    merges = {}
    for word in WORDS.split():
        left, *rest = [*word[:-1], word[-1] + LAST]
        for right in rest:
            merges[left, right] = len(merges)
            left += right
            pieces.append(left)
    names = [*dict.fromkeys(pieces), START, END, "!!"]
    return {name: i for i, name in enumerate(names)}, merges


def theirs(pad=END, longest=LONGEST):
    """transformers' tokenizer with this vocabulary."""
    ids, merges = vocabulary()
    return Theirs(
        vocab=ids,
        merges=list(merges),
        pad_token=pad,
        model_max_length=longest,
    )


def lay(folder, pad=END):
    """The files of Stable Diffusion 1's tokenizer."""
    ids, merges = vocabulary()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(ids), "utf-8")
    lines = ["#version: 0.2", *map(" ".join, merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), "utf-8")
    settings = {"pad_token": pad, "model_max_length": LONGEST}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def their_ids(tokenizer, captions):
    """As diffusers asks for them."""
    return tokenizer(
        captions,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
