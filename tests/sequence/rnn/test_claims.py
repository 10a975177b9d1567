"""What the page concludes from the RNN chapter's timings."""

from tests.claims import claimed


def test_the_gradient_by_hand_is_also_faster():
    table = claimed(
        "sequence/rnn:speed",
        "It is also faster than autograd's gradient of the same loop:",
    )
    seconds = {model: table("seconds", model=model)
               for model in table.every("model")}  # fmt: skip
    assert min(seconds, key=seconds.get) == "our loop, gradient by hand"


def test_half_of_the_matrices_let_a_gradient_grow_somewhere_above_1():
    table = claimed(
        "sequence/rnn:exploding",
        "The tanh pushes the border up, to another place for each matrix.",
        "is above 1 for none at radius 1",
    )
    grown = [table("grown", radius=r) for r in table.every("radius")]
    assert table("grown", radius=1.0) == 0 and grown[-1] == 12
    assert grown == sorted(grown) and len(set(grown)) > 4
