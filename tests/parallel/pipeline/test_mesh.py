"""Who is in a group with whom."""

import pytest

from llmnotes.parallel.pipeline.mesh import KINDS, Mesh


def test_by_hand_sixteen_ranks():
    mesh = Mesh(stages=2, data=4, tensor=2)
    assert mesh.groups("tensor") == [[r, r + 1] for r in range(0, 16, 2)]
    assert mesh.groups("data") == [
        [0, 2, 4, 6], [1, 3, 5, 7], [8, 10, 12, 14], [9, 11, 13, 15],
    ]  # fmt: skip
    assert mesh.groups("stages") == [[r, r + 8] for r in range(8)]
    assert mesh.place(13) == {"stages": 1, "data": 2, "tensor": 1}


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 3, 1), (3, 1, 5), (2, 3, 4)])
def test_every_rank_is_in_one_group_of_each_kind(sizes):
    mesh = Mesh(*sizes)
    for kind, degree in zip(KINDS, sizes, strict=True):
        groups = mesh.groups(kind)
        assert sorted(sum(groups, [])) == list(range(mesh.ranks))
        assert {len(group) for group in groups} == {degree}


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="data: got 0, expected at least 1"):
        Mesh(data=0)
    with pytest.raises(ValueError, match="rank: got 4, expected 0 to 3"):
        Mesh(2, 2).place(4)
    with pytest.raises(ValueError, match="kind: got 'rows', expected one of"):
        Mesh(2, 2).groups("rows")
