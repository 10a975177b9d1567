"""What the pages conclude from the results on a quick training step."""

from tests.claims import claimed


def test_only_with_two_processes_the_fused_block_is_a_little_ahead():
    table = claimed(
        "transformer/training_step:step",
        "On PyTorch's two threads the fused block even loses",
        "Only with one process per core does it come out ahead",
        "with the longer blocks of nanoGPT's setting it is the quickest of "
        "all",
    )
    mini = {"setting": "miniGPT"}
    nano = {"setting": "nanoGPT on a CPU"}
    assert table("ratio", model="our GPT, fused", **mini) > 1
    for setting in (mini, nano):
        ours = "our GPT, fused, two processes"
        assert 0.9 < table("ratio", model=ours, **setting) < 1
    quickest = min(table.every("seconds", **nano))
    theirs = "plain PyTorch, two processes"
    assert table("seconds", model=theirs, **nano) == quickest
