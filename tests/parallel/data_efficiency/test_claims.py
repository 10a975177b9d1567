"""What the page concludes from its runs."""

from itertools import pairwise

from tests.claims import claimed

OVERLAP = "parallel/data_efficiency:overlap"
HITS = "parallel/data_efficiency:hits"
REFERENCE = "parallel/data_efficiency:reference"
FILTER = "parallel/data_efficiency:filter"
CUTS = "parallel/data_efficiency:cuts"
MIXING = "parallel/data_efficiency:mixing"
PACKING = "parallel/data_efficiency:packing"
ORDERS = "parallel/data_efficiency:orders"
REPEATED = "parallel/data_efficiency:repeated"
LAWS = "parallel/data_efficiency:laws"
GRID = "parallel/data_efficiency:grid"
FIT = "parallel/data_efficiency:fit"
FORETOLD = "parallel/data_efficiency:foretold"


def test_shuffled_paragraphs_are_read_on_both_sides():
    table = claimed(
        OVERLAP,
        "Nothing for the play. Of shuffled paragraphs a third was read "
        "before, far more than we had expected.",
        "Cut by place, without a shuffle, it is one topic that stands in it "
        "twice, under two names.",
    )
    play = dict(division="tiny Shakespeare, by place")
    mixed = dict(division="reference, paragraphs shuffled")
    once = dict(division="the same, duplicates removed first")
    for n in (8, 13):
        assert table("spans", n=n, **play) == 0
    assert 0.3 < table("share", n=13, **mixed) < 0.37
    assert table("share", n=13, **once) < 0.05
    assert table("spans", n=13, division="reference, by place") == 1


def test_pairs_are_found_as_often_as_the_curve_says():
    table = claimed(HITS, "Random sets of a similarity that is exact")
    for similarity in (0.5, 0.8):
        for bands in ("20 bands of 5", "9 bands of 13"):
            where = dict(similarity=similarity, bands=bands)
            off = table("found", **where) - table("chance", **where)
            assert abs(off) <= table("bound", **where)


def test_many_paragraphs_are_equal_and_few_are_similar():
    table = claimed(
        REFERENCE,
        "Twice as many are equal as we thought, and few are merely similar.",
    )
    whole = table("count", step="paragraphs")
    left = table("count", step="different in their words")
    assert 0.2 < 1 - left / whole < 0.25
    similar = table("count", step="of these, similar by 0.6 or more")
    assert similar < 0.01 * left
    assert table("count", step="pairs that share a bucket") > similar


def test_the_filter_wins_on_what_it_likes_and_loses_on_the_whole():
    table = claimed(
        FILTER,
        "The filter wins on what it likes and loses on the whole, in every "
        "seed.",
    )
    best, lot = dict(way="best"), dict(way="random")
    assert table("alike_highest", **best) < table("alike_lowest", **lot)
    assert table("lowest", **best) > table("highest", **lot)


def test_scores_of_short_beginnings_say_little():
    table = claimed(CUTS, "characters ranks texts nearly at random")
    assert table("correlation", characters=50) < 0.25
    assert table("correlation", characters=500) > 0.7


def test_a_rule_decides_how_often_a_small_source_is_read():
    table = claimed(
        MIXING,
        "A tenth of the weight on ten rows, and the rule decides whether "
        "they are read once or",
        "Nearly. The first rule stops after 75 draws, for the ten rows are "
        "through; the other goes on until the second source has been read "
        "once.",
    )
    first, every = dict(rule="first_exhausted"), dict(rule="all_exhausted")
    assert table("draws", source=2, **first) == 75
    assert table("epochs", source=2, **first) == 1
    assert table("epochs", source=1, **every) == 1
    assert 50 < table("epochs", source=2, **every) < 55


def test_best_fit_fills_rows_and_cuts_only_what_is_longer():
    table = claimed(
        PACKING,
        "As expected, and in longer rows padding wastes most of the places.",
    )
    for block in (256, 1024):
        at = dict(block=block)
        best = table("cut", way="best fit", **at)
        assert best == table("cut", way="padded", **at)
        assert table("cut", way="cut", **at) > 2 * best
        assert table("filled", way="best fit", **at) > 0.999
    assert table("filled", way="padded", block=256) < 0.5
    assert table("filled", way="padded", block=1024) < 0.2


def test_mixed_speeches_are_best_in_every_seed():
    table = claimed(
        ORDERS, "Mixed is best in every seed, short first the worst."
    )
    low, high = "lowest", "highest"
    assert table(high, way="mixed") < table(low, way="long first")
    assert table(high, way="long first") < table(low, way="short first")


def test_both_fits_recommend_one_model_where_they_cross():
    table = claimed(
        LAWS,
        "One set of runs, two fits. Where they cross, at 1.01e18 FLOPs, both "
        "recommend 81 million parameters.",
        "At the crossing both recommend the same model, though not the same "
        "loss.",
        "No. 32 billion by the printed numbers, 72 by the second fit.",
    )
    cross = sorted(set(table.every("compute")))[1]
    assert round(cross / 1e16) == 101
    for name in ("as printed", "refitted"):
        found = table("parameters", fit=name, compute=cross)
        assert round(found / 1e6) == 81
    losses = [
        table("loss", fit=name, compute=cross)
        for name in ("as printed", "refitted")
    ]
    assert losses[0] - losses[1] > 0.04
    for name, billion in (("as printed", 32), ("refitted", 72)):
        found = table("parameters", fit=name, compute=5.76e23)
        assert round(found / 1e9) == billion


def test_more_of_either_helps_in_every_cell():
    table = claimed(
        GRID,
        "More of either helps in every cell. But not less each time: to "
        "the largest model each doubling of the tokens is worth more than "
        "the one before.",
    )
    sizes = sorted(set(table.every("parameters")))
    read = sorted(set(table.every("tokens")))
    loss = {
        (n, d): table("loss", parameters=n, tokens=d)
        for n in sizes
        for d in read
    }
    for n in sizes:
        row = [loss[n, d] for d in read]
        assert row == sorted(row, reverse=True)
    for d in read:
        column = [loss[n, d] for n in sizes]
        assert column == sorted(column, reverse=True)
    last = [loss[sizes[-1], d] for d in read]
    gains = [a - b for a, b in pairwise(last)]
    assert gains == sorted(gains)


def test_a_few_dozen_runs_do_not_know_a_law_well():
    table = claimed(
        FIT,
        "No. The floor runs to zero, and α is known to a factor of eight.",
        "The best fit has a floor of nothing, which nobody believes of "
        "English; our runs are too short to see one.",
        "for ten times the compute, a model that is 1.1 or 2.2 times as "
        "large.",
        "Next to the intervals that is nothing.",
    )
    every = dict(counted="all parameters")
    assert table("value", number="E", **every) == 0
    low, high = (table(c, number="alpha", **every) for c in ("low", "high"))
    assert 7 < high / low < 9
    low, high = (table(c, number="a", **every) for c in ("low", "high"))
    assert (round(10**low, 1), round(10**high, 1)) == (1.1, 2.2)


def test_the_law_foretells_only_the_smallest_model():
    table = claimed(
        FORETOLD,
        "For the smallest model only. The larger the model, the further "
        "off, and always too high.",
        "In our runs the last one helps the large model nearly twice as much.",
    )
    sizes = sorted(set(table.every("parameters")))
    off = [
        table("expected", parameters=n) - table("loss", parameters=n)
        for n in sizes
    ]
    assert 0 < off[0] < 0.03 and off == sorted(off) and off[-1] > 0.1
    gains = [
        table("before", parameters=n) - table("loss", parameters=n)
        for n in (sizes[0], sizes[-1])
    ]
    assert 1.7 < gains[1] / gains[0] < 2.1


def test_a_few_epochs_are_worth_what_the_law_says():
    table = claimed(
        REPEATED,
        "Near the published law for two, four and eight epochs.",
        "So up to eight epochs the law is near",
        "at two, all seeds stay a little below it.",
        "Sixteen end about where our longest new text ends, eight times as "
        "long, and not where one of 10.6 times would.",
    )
    for epochs in (2, 4, 8):
        at = dict(epochs=epochs)
        assert abs(table("worth", **at) / table("law", **at) - 1) < 0.06
    for epochs in (4, 8):
        at = dict(epochs=epochs)
        low, high = table("worth_lowest", **at), table("worth_highest", **at)
        assert low < table("law", **at) < high
    assert table("worth_highest", epochs=2) < table("law", epochs=2)
    longest = table("fresh", epochs=8)
    assert abs(table("loss", epochs=16) - longest) < 0.05
