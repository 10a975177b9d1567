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
        "It is right until 0.075 rather than 0.1, where 0.8 % of two things "
        "are no longer clear. Wrong in less than 1 % held but for σ = 0.175, "
        "where it is 1.0 %.",
        "what a person would still read, under noise beyond σ = 0.1, counts "
        "as wrong",
    )
    two = {"things": "two", "said": "right"}
    assert all(table("share", sigma=s, **two) == 1 for s in (0, 0.05, 0.075))
    assert table("share", sigma=0.1, **two) == 0.992
    silent = table("share", things="two", sigma=0.1, said="not clear")
    assert silent == 0.008
    assert table("share", sigma=0.15, **two) < 0.85
    assert table("share", sigma=0.25, **two) < 0.01
    wrong = {"said": "something else"}
    assert table("share", things="two", sigma=0.175, **wrong) == 0.01
    assert sorted(table.every("share", **wrong))[-2] < 0.01


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
