"""What goes wrong in practice, with PyTorch's own messages."""

from llmnotes.parallel.data_parallel import run
from tests.parallel.data_parallel import traps


def test_no_sync_around_backward_alone_changes_nothing(processes):
    """DDP decides in forward whether backward will send."""
    assert run(traps.quiet_where, 2, "both", processes=processes) == [0, 0]
    assert run(traps.quiet_where, 2, "back", processes=processes) == [1, 1]


def test_ddp_complains_a_step_late_of_an_unused_parameter(processes):
    for said in run(traps.unused, 2, processes=processes):
        assert said.startswith(
            "Expected to have finished reduction in the prior iteration "
            "before starting a new one. This error indicates that your "
            "module has parameters that were not used in producing loss."
        )


def test_quiet_at_the_wrong_end_leaves_ranks_with_gradients_of_their_own(
    processes,
):
    """Pieces of 1 and 3 on rank 0, of 2 and 5 on rank 1; the mean is 5.5."""
    job = traps.quiet_at_the_wrong_end, 2
    assert run(*job, False, processes=processes) == [5.5, 5.5]
    assert run(*job, True, processes=processes) == [4.5, 6.5]
