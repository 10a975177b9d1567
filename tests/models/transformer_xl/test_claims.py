"""What the page concludes from what was counted."""

from tests.claims import claimed


def test_without_memory_a_change_ends_with_the_segment():
    table = claimed(
        "models/transformer_xl:heard",
        "Without memory the change ends with the segment.",
    )
    for token in range(20):
        for memory, segments in (("no memory", 1), ("memory of 4", 3)):
            end = (token // 4 + segments) * 4
            heard = table.every("heard", memory=memory, token=token)
            assert heard == [int(token <= at < end) for at in range(20)]


def test_one_state_reaches_a_segment_for_each_layer_but_the_first():
    table = claimed(
        "models/transformer_xl:reach",
        "One remembered state already reaches a whole segment for each layer "
        "but the first.",
        "With eight layers it is 0 without memory, 225 with one state, about "
        "the same up to 32, then it jumps to 496 at 48 and climbs to 1,024 "
        "at 128.",
    )
    for layers in (1, 2, 4, 8):
        one = table("back", layers=f"{layers}", mem_len=1)
        assert one == 32 * (layers - 1) + 1
        for mem_len in (32, 64, 96, 128):
            far = table("back", layers=f"{layers}", mem_len=mem_len)
            assert far == layers * mem_len
    found = [table("back", layers="8", mem_len=n) for n in (0, 1, 32, 48, 128)]
    assert found == [0, 225, 256, 496, 1024]


def test_only_long_segments_save_as_much_as_the_context_is_long():
    table = claimed(
        "models/transformer_xl:flops",
        "Only in long segments does it come near, with 0.6 to 0.8 of C. "
        "Token by token it is 4 to 12 times.",
        "times is all that is left of 3,800",
    )
    for context in (128, 512, 1024, 2048, 3800):
        share = table("whole", context=context) / context
        assert 0.58 <= share <= 0.8
        assert 4 <= table("one", context=context) <= 12
