"""What the page of the data sets says about the checker."""

from tests.claims import claimed

READING = "scenes/scenes:reading"
NOISE = "scenes/scenes:noise"
LIMITS = "scenes/scenes:limits"
WORDS = ["number", "sizes", "colours", "shapes"]


def test_all_that_was_drawn_is_read_and_no_other_caption_passes():
    table = claimed(
        READING,
        "Of 8,000 drawn pictures it reads every one",
        "All that was drawn is read; with its things exchanged a caption has "
        "every word right and no relation; no caption of another picture "
        "passes.",
    )
    drawn = [
        f"{n} {what}"
        for n in ("one thing", "two things")
        for what in ("", "of a held-out pair", "with a held-out pair")
    ]
    drawn = [name.strip() for name in drawn if name.strip() in _names(table)]
    assert len(drawn) == 4
    counts = [table("pictures", shown=name) for name in drawn]
    assert [table("all", shown=name) for name in drawn] == counts
    assert sum(counts) == 8000
    swapped = {"shown": "things told swapped"}
    pictures = table("pictures", **swapped)
    assert [table(word, **swapped) for word in WORDS] == [pictures] * 4
    assert table("relation", **swapped) == table("all", **swapped) == 0
    assert table("all", shown="caption of another picture") == 0


def _names(table):
    return table.every("shown")


def test_the_checker_falls_silent_before_it_is_wrong():
    table = claimed(
        NOISE,
        "Beyond σ = 0.1 the checker says less and less; hardly ever does it "
        "read something that is not there.",
        "Of two things, 0.5 % are no longer clear at 0.1, and 0.1 % at "
        "0.075. It is wrong in less than 1 % at any σ.",
        "what a person would still read, under noise beyond σ = 0.1, counts "
        "as wrong",
    )
    two = {"things": "two", "said": "right"}
    silent = {"things": "two", "said": "not clear"}
    assert all(table("share", sigma=s, **two) == 1 for s in (0, 0.05))
    assert table("share", sigma=0.075, **silent) == 0.001
    assert table("share", sigma=0.1, **silent) == 0.005
    assert table("share", sigma=0.1, **two) == 0.995
    assert table("share", sigma=0.15, **two) < 0.85
    assert table("share", sigma=0.25, **two) < 0.01
    wrong = table.every("share", said="something else")
    assert len(wrong) == 22 and max(wrong) < 0.01


def test_a_circle_passes_as_its_size_and_between_the_sizes_as_a_square():
    table = claimed(
        LIMITS,
        "Between the two it is not silent.",
        "is nearer to a small square than to any circle of the set and is "
        "read as one",
        "a model whose circles have a middle size gets a wrong shape rather "
        "than no shape",
    )
    order = [
        "half width of a small circle",
        "circle read as a small square",
        "half width of a large circle",
        "circle read as a large square",
    ]
    ends = [
        table(column, what=what)
        for what in order
        for column in ("least", "most")
    ]
    assert ends == sorted(ends)
    gaps = [b - a for a, b in zip(ends[1:-1:2], ends[2::2], strict=True)]
    assert len(gaps) == 3 and max(gaps) < 0.1
