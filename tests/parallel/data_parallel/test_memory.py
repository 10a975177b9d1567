"""What a rank holds, counted."""

import torch

from llmnotes.parallel.data_parallel import Living, held


def test_storages_count_once_and_while_they_live():
    x = torch.ones(10)
    with Living() as living:
        y = x + 1
        view = y[2:]
        assert living.bytes == 40
        z = y * 2
        del y
        assert living.bytes == 80  # the view holds it
        del view
        assert (living.bytes, living.peak) == (40, 80)
        del z
    assert living.bytes == 0
    assert held({"a": [x, x[1:]], "b": torch.ones(2, dtype=torch.int8)}) == 42
