"""What the page concludes from formats, calibration texts and outliers."""

from tests.claims import claimed

GPT = "adaptation/quantization:gpt"


def test_gptq_takes_away_four_fifths_at_three_bits():
    table = claimed(
        GPT,
        "GPTQ takes away four fifths of what rounding costs without storing "
        "a bit more, and its 3 bits are as good as 4 that are rounded.",
        "AWQ takes hardly anything away",
        "At 3 bits that is worth a bit for the GPT",
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
        "With a zero point, and in the K formats, a bit more makes the damage "
        "four to six times smaller.",
        "below 4 bits each costs five times or more, without a zero point "
        "twelve",
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
        "and GPTQ, on whole numbers with a zero point and an eighth of a bit "
        "more, less than any.",
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
        "Calibrating on the very text that is judged is no better than on "
        "another part of Python's reference, as expected. But little text is "
        "nearly as good as much, 16 windows of 64 letters cost 0.002 nat, and "
        "letters drawn at random are as good as another English text: "
        "0.006.",
    )
    known = claimed(GPT, "Rounding to nearest has 1.407, float32 1.364.")
    rounded = known("loss", format="uint3 · 64")
    assert f"{rounded:.3f}" == "1.407"
    assert f"{rounded - known('cost', format='uint3 · 64'):.3f}" == ("1.364")
    own, most = "Python's reference", 256
    base = table("loss", text=own, windows=most)
    text = dict(text="the text it is judged on", windows=most)
    apart = table("highest", **text) - table("lowest", **text)
    assert abs(table("loss", **text) - base) < apart
    few = table("loss", text=own, windows=16)
    assert 0.0015 < few - base < 0.0025
    for text in ("Shakespeare", "letters drawn at random"):
        assert 0.0045 < table("loss", text=text, windows=most) - base < 0.0075


def test_awq_takes_away_a_quarter_of_minilms_loss_and_gptq_half():
    table = claimed(
        "adaptation/quantization:minilm",
        "AWQ, which did nothing for the GPT, takes away a quarter here, and "
        "GPTQ half.",
    )
    lost = table("lost", format="uint3 · 64")
    assert 0.7 < table("lost", format="uint3 · 64 · AWQ") / lost < 0.8
    assert 0.4 < table("lost", format="uint3 · 64 · GPTQ") / lost < 0.55


def test_fewer_bits_are_quicker_where_codes_are_multiplied():
    table = claimed(
        "adaptation/quantization_speed:gemv",
        "All are quicker than float32, but by 2.4, 3.1 and 2.4 times.",
        "None reads memory as fast as float32 does",
        "a scale for 64 weights costs a quarter more time",
    )
    ways = "8 bits", "4 bits, a scale a row", "4 bits, a scale for 64"
    found = [table("ratio", way=way) for way in ways]
    for ratio, said in zip(found, (2.4, 3.1, 2.4), strict=True):
        assert abs(ratio - said) < 0.1
    assert 1.2 < found[1] / found[2] < 1.3
    most = table("read", way="float32, numba")
    assert all(table("read", way=way) < 0.7 * most for way in ways)
    assert table("ratio", way="NF4, unpacked each time") < 0.1


OUTLIERS = "adaptation/quantization:outliers"


def test_smoothquant_undoes_what_was_done_and_llm_int8_nearly():
    table = claimed(
        OUTLIERS,
        "a scale for each token saves more than we thought, and LLM.int8() "
        "leaves 0.007 nat",
    )
    large = "two channels × 100"
    plain = table("loss", weights="as trained", way="SmoothQuant")
    assert abs(table("loss", weights=large, way="SmoothQuant") - plain) < 1e-3
    mixed = table("loss", weights=large, way="LLM.int8()") - plain
    assert 0.006 < mixed < 0.008
    rough, fine = (
        table("loss", weights=large, way=way)
        for way in ("one scale for all", "one for each token and row")
    )
    assert 0.2 < (fine - plain) / (rough - plain) < 0.35


def test_smoothquant_harms_where_weights_are_the_difficulty():
    table = claimed(
        "adaptation/quantization:weights",
        "With one scale for all it is worse, as expected, but without that "
        "matrix still.",
        "In all matrices but that one it does three fifths less harm, and "
        "where its authors use it, behind norms, it helps a little.",
        "With a scale for each row the large weight spoils no row but its "
        "own, and SmoothQuant helps. LLM.int8() does as well",
    )

    def at(scales, smooth="no SmoothQuant"):
        return table("cosine", scales=scales, smooth=smooth)

    rough, fine = "one scale for all", "one for each token and row"
    harm = at(rough) - at(rough, "SmoothQuant")
    less = at(rough) - at(rough, "SmoothQuant but in one matrix")
    assert 0 < less and 0.35 < less / harm < 0.45
    assert 0 < at(rough, "SmoothQuant behind norms") - at(rough) < harm / 3
    assert at(fine) < at(fine, "SmoothQuant")
    assert abs(at("LLM.int8()") - at(fine, "SmoothQuant")) < 5e-4
