"""What the page concludes from what the experts are asked for."""

from tests.claims import claimed

SPECIALISE = "models/moe_training:specialise"
LAYERS = range(4)


def test_experts_know_letters_and_not_sources():
    table = claimed(
        SPECIALISE,
        "Our small Mixtral shows the same",
        "Experts know letters. Of the source, though it could not differ "
        "more, they tell at most",
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
