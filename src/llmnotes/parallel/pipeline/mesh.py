"""Ranks in three dimensions: whose neighbour is whom, of which kind.

    N      = stages · data · tensor ranks
    rank   = (stage · data + d) · tensor + t: neighbours in number share a
             layer, which sends most, so they should sit in one machine
    degree = ranks of a group; there are N / degree groups of a kind

Sources
- Narayanan et al. 2021, "Efficient Large-Scale Language Model Training on GPU
  Clusters", arXiv 2104.04473, §2.3, §3.2 (tensor parallelism inside a server).
"""

from dataclasses import dataclass

import torch.distributed as dist

KINDS = "stages", "data", "tensor"


@dataclass(frozen=True)
class Mesh:
    """How many ranks each dimension has.

    Raises `ValueError` for less than one.
    """

    stages: int = 1
    data: int = 1
    tensor: int = 1

    def __post_init__(self):
        for kind in KINDS:
            if getattr(self, kind) < 1:
                raise ValueError(
                    f"{kind}: got {getattr(self, kind)}, expected at least 1"
                )

    @property
    def ranks(self) -> int:
        """N."""
        return self.stages * self.data * self.tensor

    def place(self, rank: int) -> dict[str, int]:
        """Where a rank stands, by kind.

        Raises `ValueError` for a rank that is not in the mesh.
        """
        if not 0 <= rank < self.ranks:
            raise ValueError(
                f"rank: got {rank}, expected 0 to {self.ranks - 1}"
            )
        row, t = divmod(rank, self.tensor)
        stage, d = divmod(row, self.data)
        return {"stages": stage, "data": d, "tensor": t}

    def groups(self, kind: str) -> list[list[int]]:
        """All groups of a kind: ranks that differ in that place only.

        Raises `ValueError` for an unknown kind.
        """
        if kind not in KINDS:
            raise ValueError(
                f"kind: got {kind!r}, expected one of {', '.join(KINDS)}"
            )
        found: dict[tuple, list[int]] = {}
        for rank in range(self.ranks):
            others = {k: v for k, v in self.place(rank).items() if k != kind}
            found.setdefault(tuple(others.values()), []).append(rank)
        return list(found.values())

    def join(self) -> dict[str, dist.ProcessGroup]:
        """Return this rank's group of each kind.

        All ranks make all groups, in one order, also those that they are not
        in: else they wait for each other for ever.

        Raises `ValueError` if there are more or fewer ranks than the mesh has.
        """
        ranks = dist.get_world_size()
        if ranks != self.ranks:
            raise ValueError(
                f"mesh: got {self.ranks} places for {ranks} ranks, expected "
                "as many"
            )
        mine = {}
        for kind in KINDS:
            for members in self.groups(kind):
                made = dist.new_group(members)
                if dist.get_rank() in members:
                    mine[kind] = made
        return mine
