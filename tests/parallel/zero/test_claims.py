"""What the page concludes from what was counted."""

from tests.claims import claimed

ONE, MANY = "stage 3, one unit", "stage 3, a unit for each layer"


def test_one_unit_saves_nothing_at_the_peak():
    table = claimed(
        "parallel/zero:peak",
        "Without units, cutting gradients and weights saves nothing when it "
        "matters; only the cut states do.",
        "Stage 3 holds, beside the whole weights, its own shard of them.",
    )
    assert table("kept", way=ONE) == table("kept", way=MANY)
    assert table("peak", way=MANY) < table("peak", way="stage 1")
    own = table("peak", way=ONE) - table("peak", way="stage 1")
    assert own == 4 * 2400 // 4


def test_stages_1_and_2_send_no_more_than_data_parallel():
    table = claimed(
        "parallel/zero:sent",
        "nothing at all for stages 1 and 2, and half as much again for "
        "stage 3.",
    )
    for ranks in (2, 4):
        plain, *cut = (
            table("sent", stage=s, micro=1, ranks=ranks) for s in range(4)
        )
        assert cut == [plain, plain, 1.5 * plain]


def test_where_the_step_is_decides_what_crosses():
    table = claimed(
        "parallel/zero:offload",
        "4 in mixed precision where Adam goes to the states, 16 where they "
        "come to Adam.",
    )
    assert table("each", bits="mixed", way="states far, step there") == 4
    assert set(table.every("each", way="states far, step near")) == {16}


def test_most_of_what_fsdp2_gathers_there_is_padding():
    table = claimed(
        "parallel/zero:thousand",
        "its padding is less than one number a rank: 960 here, nearly a "
        "quarter of so small a layer,",
    )
    assert table("ratio", way="FSDP2's rows") == 16
    assert table("ratio", way="our flat layer") < 1.25
