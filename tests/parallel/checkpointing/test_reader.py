"""What other readers do with damage: the traps that the page names."""

import warnings

import pytest
import torch
from torch.distributed import checkpoint as dcp

from llmnotes.parallel.data_parallel import run
from tests.parallel.checkpointing import ranked


@pytest.fixture
def saved(tmp_path):
    """A folder of torch.distributed.checkpoint."""
    warnings.simplefilter("ignore")
    state = {"w": torch.ones(5, 3), "b": torch.ones(2)}
    dcp.save(state, checkpoint_id=tmp_path)
    return tmp_path


def test_dcp_loads_a_flipped_bit_without_a_word(saved):
    file = saved / "__0_0.distcp"
    data = bytearray(file.read_bytes())
    data[data.find(bytes([0, 0, 128, 63]) * 9) + 2] ^= 1
    file.write_bytes(data)
    into = {"w": torch.zeros(5, 3)}
    dcp.load(into, checkpoint_id=saved)
    assert into["w"].unique().tolist() == [1, 1.0078125]


def test_dcp_passes_over_what_nobody_asks_for_and_changes_types(saved):
    into = {"w": torch.zeros(5, 3, dtype=torch.float64)}
    dcp.load(into, checkpoint_id=saved)
    assert into["w"].tolist() == [[1] * 3] * 5


@pytest.mark.parametrize(
    ("into", "says"),
    [
        (
            {"step": torch.zeros(1)},
            "Missing key in checkpoint state_dict: step.",
        ),
        (
            {"w": torch.zeros(5, 4)},
            r"Size mismatch between saved torch.Size\(\[5, 3\]\) and "
            r"current: torch.Size\(\[5, 4\]\) for w",
        ),
    ],
    ids=["missing", "size"],
)
def test_what_dcp_refuses(saved, into, says):
    with pytest.raises(dcp.api.CheckpointException, match=says):
        dcp.load(into, checkpoint_id=saved)


def test_dcp_loads_a_mixture_of_two_saves(processes, tmp_path):
    for rows in run(ranked.mixed, 2, tmp_path, processes=processes):
        assert rows == [2, 2, 2, 1, 1]


def test_a_file_cut_short_has_no_central_directory(tmp_path):
    file = tmp_path / "x.pt"
    torch.save(torch.zeros(1000), file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(RuntimeError, match="failed finding central directory"):
        torch.load(file)
