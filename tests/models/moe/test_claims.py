"""What the page concludes from mixtures that were trained."""

from tests.claims import claimed

SPECIALISE = "models/moe_training:specialise"
LAYERS = range(4)


def test_experts_know_letters_and_not_sources():
    table = claimed(
        SPECIALISE,
        "Our small Mixtral shows the same",
        "Experts know letters. Of the source they tell at most",
        "and less in each layer above",
        "Of the source far less than the 0.3 bit",
    )
    told = [table("character", training="balanced", layer=n) for n in LAYERS]
    assert told == sorted(told, reverse=True) and told[-1] > 1
    for n in LAYERS:
        source = table("highest", training="balanced", layer=n)
        assert source < 0.03 < told[n] / 30


def test_without_the_loss_few_experts_do_the_work():
    table = claimed(
        SPECIALISE,
        "Without the balancing loss the busiest expert of that layer takes",
        "where an eighth would be even",
    )
    for n in LAYERS[1:]:
        assert table("busiest", training="not balanced", layer=n) > 2 / 8
        assert table("busiest", training="balanced", layer=n) < 2 / 8
        lost, kept = (
            table("character", training=way, layer=n)
            for way in ("not balanced", "balanced")
        )
        assert lost < kept


def test_in_a_short_race_parameters_bring_nothing():
    table = claimed(
        "models/moe_training:race",
        "After 500 steps the three cannot be told apart by three seeds, and "
        "the mixture is not the first of them.",
        "With 500 steps on a megabyte more parameters bring nothing, in a "
        "dense model or in a mixture.",
    )
    dense = "dense, as many flops", "dense, as many parameters"
    models = "mixture, 2 of 8", *dense
    lowest, highest = (
        [table(end, model=name) for name in models]
        for end in ("lowest", "highest")
    )
    assert max(lowest) < min(highest)  # all three spreads overlap
    losses = [table("loss", model=name) for name in models]
    assert min(losses) != losses[0]
