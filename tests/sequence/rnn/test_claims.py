"""What the page concludes from the RNN chapter's timings."""

from tests.claims import claimed


def test_the_gradient_by_hand_is_also_faster():
    table = claimed(
        "sequence/rnn:speed",
        "It is also faster than autograd's gradient of the same loop.",
    )
    seconds = {model: table("seconds", model=model)
               for model in table.every("model")}  # fmt: skip
    assert min(seconds, key=seconds.get) == "our loop, gradient by hand"
