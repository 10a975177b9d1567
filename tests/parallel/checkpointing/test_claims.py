"""What the page concludes from its runs and counts."""

from tests.claims import claimed

LEFT_OUT = "parallel/checkpointing:left_out"
DEATHS = "parallel/checkpointing:deaths"
READ = "parallel/checkpointing:read"
CAUSES = "parallel/checkpointing:causes"
INTERVALS = "parallel/checkpointing:intervals"
COSTS = "parallel/checkpointing:costs"
SIZES = "parallel/checkpointing:sizes"


def test_the_loss_does_not_tell_what_was_left_out():
    table = claimed(
        LEFT_OUT,
        "It hardly moves. Where the position was lost it even gets better",
        "or it does not, and then from the first or second step on.",
        "Far less than expected. No mean moves by more than a few "
        "hundredths, though each is another run; without the position it "
        "even falls.",
    )
    bounds = table.every("lowest") + table.every("highest")
    assert max(map(abs, bounds)) < 0.06
    assert table("highest", left_out="position in the data") < -0.03
    assert table("change", left_out="nothing") == 0
    assert table("first", left_out="nothing") is None
    first = [step for step in table.every("first") if step is not None]
    assert len(first) == 5 and set(first) <= {61, 62}
    assert table("again", left_out="position in the data") == 30 * 96


def test_whoever_is_killed_leaves_a_checkpoint_and_the_same_bits():
    table = claimed(
        DEATHS,
        "As expected: until the rename step 6 is the newest, afterwards step "
        "9, and every run ends in the same bits.",
    )
    assert table.every("same") == table.every("times")
    killed = [(row["operation"], row["newest"]) for row in table.rows
              if row["rank"] == 0]  # fmt: skip
    at = killed.index(("rename", 6))
    assert {step for _, step in killed[: at + 1]} == {6}
    assert {step for _, step in killed[at + 1 :]} == {9}
    assert set(table.every("newest", rank=1)) == {6}


def test_a_rank_reads_its_share():
    table = claimed(
        READ,
        "As expected for one, two and four; three ranks read blocks that lie "
        "across their borders twice.",
    )
    for ranks in (1, 2, 4):
        assert table("most", saved_by=2, read_by=ranks) == 16384 // ranks
        assert table("together", saved_by=2, read_by=ranks) == 16384
    assert table("together", saved_by=2, read_by=3) == 16384 + 2 * 256


def test_each_cause_changes_bits_and_the_switch_helps_one():
    table = claimed(CAUSES, "As expected; `deterministic` helps one of them.")
    same = {
        "sum_in_order: 3 ranks, not 2",
        "2 threads again",
        "the same; deterministic",
        "shuffled, seed 0",
    }
    for row in table.rows:
        assert (row["different"] == 0) == (row["cause"] in same), row


def test_a_tenth_is_lost_at_best_and_the_optimum_is_flat():
    table = claimed(
        INTERVALS,
        "As expected: a tenth at best, a fifth at four times or a quarter of "
        "it. Young's formula says a little more than is lost.",
        "The optimum is flat: half of it or twice as much costs little.",
    )
    lost = {row["times"]: row["simulated"] for row in table.rows}
    assert min(lost, key=lost.get) == 1 and 0.095 < lost[1] < 0.105
    assert all(0.18 < lost[times] < 0.21 for times in (0.25, 4))
    assert all(lost[times] < lost[1] + 0.03 for times in (0.5, 2))
    for row in table.rows:
        assert row["simulated"] < row["young"]
        assert abs(row["exact"] - row["simulated"]) < 0.002


def test_what_helps_is_a_shorter_stop():
    table = claimed(COSTS, "What helps is a smaller")
    assert table("lost", cost=1.0) < table("lost", cost=60.0) / 7


def test_a_trillion_parameters_are_more_than_was_printed():
    table = claimed(SIZES, "We remember 13.8 TB from Megatron-LM's paper")
    assert table("mixed", model="Megatron's largest") > 14_000


def test_what_is_not_hidden_is_the_copy():
    table = claimed(
        "parallel/checkpointing_speed:behind",
        "Not reached: two thirds are hidden. What is not is the copy: copied "
        "and not written, it takes as long.",
    )
    hidden = table("hidden", way="in the background")
    assert 0.62 < hidden < 0.72
    more, copied = (
        table("more", way=way)
        for way in ("in the background", "copied, not written")
    )
    assert 0.9 < copied / more < 1.1
