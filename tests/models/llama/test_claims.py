"""What the page concludes from the ablation of Llama."""

from tests.claims import claimed

ABLATION = "models/llama:ablation"
ROPE, SWIGLU = "learned positions for RoPE", "GELU for SwiGLU"


def test_rope_and_the_gate_are_worth_something_in_every_seed():
    table = claimed(
        ABLATION,
        "RoPE is worth most",
        "SwiGLU comes next",
        "and all their seeds lie above all of Llama's",
    )
    worst = table("highest", undone="Llama")
    for name in (ROPE, SWIGLU):
        assert table("lowest", undone=name) > worst
    assert table("cost", undone=ROPE) > table("cost", undone=SWIGLU)


def test_the_other_four_cannot_be_told_from_nothing():
    table = claimed(
        ABLATION, "The other four cannot be told from nothing by three seeds"
    )
    best, worst = (table(end, undone="Llama") for end in ("lowest", "highest"))
    for name in ("LayerNorm for RMSNorm", "MHA for GQA", "biases"):
        assert table("lowest", undone=name) < worst
        assert table("highest", undone=name) > best
