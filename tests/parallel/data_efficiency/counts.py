"""What is counted in our own texts: duplicates, rows, runs of words."""

import numpy as np

from llmnotes import data
from llmnotes.parallel.data_efficiency import duplicates, packing
from llmnotes.parallel.data_efficiency.contamination import Index
from llmnotes.parallel.data_efficiency.quality import common_share
from llmnotes.parallel.data_efficiency.runs import shuffled

BANDS, ROWS, LEAST = 20, 5, 0.6
BETWEEN = "\n\n"


def paragraphs():
    """Paragraphs of the Python reference, as they stand."""
    return [p.strip() for p in data.text().split(BETWEEN) if p.strip()]


def deduplicated():
    """What is left of the reference, step by step: (step, count)."""
    texts = paragraphs()
    first = duplicates.first_of_each(texts)
    sets = [duplicates.shingles(texts[i]) for i in first]
    candidates = duplicates.MinHash(BANDS, ROWS).candidates(sets)
    similar = duplicates.verified(sets, candidates, LEAST)
    pairs = set(similar)
    return [
        ("paragraphs", len(texts)),
        ("different in their words", len(first)),
        ("pairs that share a bucket", len(candidates)),
        (f"of these, similar by {LEAST} or more", len(similar)),
        ("left by union-find", len(duplicates.joined(len(sets), pairs))),
        ("left by the greedy rule", len(duplicates.greedy(len(sets), pairs))),
    ]


def speeches():
    """Characters of each speech of tiny Shakespeare."""
    text = data.text("tiny_shakespeare")
    return [len(one) + 1 for one in text.split(BETWEEN)]


def packings(block):
    """(way, rows, share of places filled, share of speeches cut)."""
    sizes = speeches()
    alone = [[p] for p in packing.pieces(sizes, block)]
    ways = {
        "padded": alone,
        "cut": packing.cut(sizes, block),
        "best fit": packing.best_fit(sizes, block),
    }
    return [
        (
            way,
            len(rows),
            packing.filled(rows, block),
            packing.share_cut(rows, len(sizes)),
        )
        for way, rows in ways.items()
    ]


def halves():
    """{how a text is divided: what is read, what is held out}."""
    play, cut = data.text("tiny_shakespeare"), paragraphs()
    mixed = [cut[i] for i in shuffled(len(cut), 0, 0)]
    once = [mixed[i] for i in duplicates.first_of_each(mixed)]
    return {
        "tiny Shakespeare, by place": tenth_held_out(play),
        "reference, by place": tenth_held_out(cut),
        "reference, paragraphs shuffled": tenth_held_out(mixed),
        "the same, duplicates removed first": tenth_held_out(once),
    }


def tenth_held_out(texts):
    """The first nine tenths of a text, or of texts, and the rest."""
    border = int(0.9 * len(texts))
    parts = texts[:border], texts[border:]
    return [p if isinstance(p, str) else BETWEEN.join(p) for p in parts]


def overlaps(n):
    """(division, share of held-out words in known runs, number of spans)."""
    found = []
    for way, (read, held) in halves().items():
        index = Index(read, n)
        found.append((way, index.share(held), len(index.found(held))))
    return found


def agreements(cuts, whole=1000):
    """How scores of the first characters rank texts as longer ones do."""
    body = data.text()
    texts = [body[i : i + whole] for i in range(0, len(body) - whole, whole)]
    scores = {c: [common_share(t[:c]) for t in texts] for c in (*cuts, whole)}
    long = ranks(scores[whole])
    return [
        (c, float(np.corrcoef(ranks(scores[c]), long)[0, 1])) for c in cuts
    ]


def ranks(values):
    """The rank of each value; equal ones share the mean of theirs."""
    _, which, many = np.unique(values, return_inverse=True, return_counts=True)
    return (many.cumsum() - (many - 1) / 2)[which]
