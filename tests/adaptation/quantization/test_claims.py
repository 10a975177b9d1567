"""What the page concludes from formats, calibration texts and outliers."""

from tests.claims import claimed

GPT = "adaptation/quantization:gpt"


def test_gptq_takes_away_four_fifths_at_three_bits():
    table = claimed(
        GPT,
        "GPTQ takes away four fifths of what rounding costs without storing "
        "a bit more, and its 3 bits are as good as 4 that are rounded.",
        "AWQ takes nothing away",
        "At 3 bits that is worth a bit.",
    )

    def at(column, form):
        return table(column, format=form)

    three, four = "uint3 · 64", "uint4 · 64"
    rounded, best = (at("cost", f) for f in (three, f"{three} · GPTQ"))
    assert best < 0.2 * rounded
    assert at("bits", three) == at("bits", f"{three} · GPTQ")
    assert best < at("cost", four)
    for form in (three, four):
        plain, awq = (at("cost", f) for f in (form, f"{form} · AWQ"))
        assert abs(awq - plain) < 0.15 * plain


def test_a_bit_costs_four_to_six_times():
    table = claimed(
        GPT,
        "A bit more makes the damage four to six times smaller.",
        "below 4 bits each costs five times or more",
    )
    ladder = ("q4_K", "q5_K", "q6_K")
    damage = [table("kl", format=form) for form in ladder]
    for more, less in zip(damage, damage[1:], strict=False):
        assert 3.7 < more / less < 6.3
    whole = [table("kl", format=f"uint{b} · 64") for b in (2, 3, 4)]
    for more, less in zip(whole, whole[1:], strict=False):
        assert 4.5 < more / less < 6.3


def test_formats_of_equal_size_differ_by_two_and_gptq_by_more():
    table = claimed(
        GPT,
        "At 4.5 bits the best format does half the damage of the simplest, "
        "and GPTQ, on the simplest, less than any.",
    )
    even, normal, super_block = (
        table("kl", format=form) for form in ("int4 · 64", "NF4 · 64", "q4_K")
    )
    assert super_block < normal < even
    assert 0.4 < super_block / even < 0.55
    assert table("kl", format="uint4 · 64 · GPTQ") < super_block


def test_a_loss_can_fall_by_luck():
    table = claimed(GPT, "less than the model in float32")
    assert table("cost", format="q6_K") < 0 < table("kl", format="q6_K")


def test_what_is_shown_matters_little():
    table = claimed(
        "adaptation/quantization:calibration",
        "The text that it is judged on is no better than another part of it, "
        "as expected, but neither is more text: 16 windows of 64 letters do. "
        "Another English text costs 0.006 nat, and so do letters drawn at "
        "random.",
    )
    known = claimed(GPT, "Rounding to nearest has 1.407, float32 1.364.")
    rounded = known("loss", format="uint3 · 64")
    assert f"{rounded:.3f}" == "1.407"
    assert f"{rounded - known('cost', format='uint3 · 64'):.3f}" == ("1.364")
    own, most = "Python's reference", 256
    base = table("loss", text=own, windows=most)
    lowest, highest = (
        table(end, text=own, windows=most) for end in ("lowest", "highest")
    )
    judged = table("loss", text="the text it is judged on", windows=most)
    assert abs(judged - base) < highest - lowest
    few = table("loss", text=own, windows=16)
    assert abs(few - base) < 0.0015
    for text in ("Shakespeare", "letters drawn at random"):
        assert 0.0045 < table("loss", text=text, windows=most) - base < 0.0075
