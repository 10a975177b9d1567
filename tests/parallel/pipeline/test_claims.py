"""What the page on the choice concludes from the plan."""

import pytest

from tests.claims import claimed

LAYOUTS = "parallel/pipeline_plan:layouts"
THREE = "parallel/pipeline_plan:three"


def test_zero_1_is_nearly_free():
    table = claimed(
        LAYOUTS,
        "ZeRO-1 sends no more than plain data parallelism and takes two "
        "thirds of the states away, nearly half of all memory: it is nearly "
        "free.",
    )
    plain, cut = (
        {c: table(c, way=w, again="no") for c in ("states", "memory", "sent")}
        for w in ("data", "data with ZeRO-1")
    )
    assert cut["sent"] == plain["sent"]
    assert 1 - cut["states"] / plain["states"] == pytest.approx(
        2 / 3, abs=0.02
    )
    assert 0.44 < 1 - cut["memory"] / plain["memory"] < 0.5
    assert cut["memory"] > 80 > table("memory", way="data with ZeRO-1",
                                        again="yes")  # fmt: skip


def test_tensor_parallelism_holds_least_and_stages_send_least_and_wait():
    table = claimed(
        LAYOUTS,
        "Tensor parallelism over all eight holds least and sends most. Eight "
        "stages send least, and wait for 11 % of the work, because a step "
        "has only 64 micro-batches; the first of them holds the table of the "
        "vocabulary besides its layers, so that states are 22 GB and not 16.",
    )
    rows = {
        way: table("memory", way=way, again="no")
        for way in (
            "data",
            "data with ZeRO-1",
            "data with ZeRO-3",
            "tensor",
            "stages",
        )
    }
    assert min(rows, key=rows.get) == "tensor"
    sent = {way: table("sent", way=way, again="no") for way in rows}
    assert max(sent, key=sent.get) == "tensor"
    assert min(sent, key=sent.get) == "stages"
    assert round(table("bubble", way="stages", again="no"), 2) == 0.11
    assert round(table("states", way="stages", again="no")) == 22


def test_a_rank_sends_what_the_formulas_say():
    table = claimed(
        THREE,
        "What a rank sends was counted on twelve, three stages of two and "
        "two, which have a middle stage; it is what the formulas say:",
    )
    for kind in ("a layer", "the row of layers", "the batch"):
        assert table("counted", kind=kind) == table("formula", kind=kind)
