"""Causes of other bits, one at a time."""

import torch


def drawn(*shape, seed=0):
    """Numbers that are the same in every process."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sum_with(threads):
    """The sum of 900,000 numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    found = float(drawn(300, 3000).sum())
    torch.set_num_threads(before)
    return found


def row_alone():
    """A row times a matrix."""
    torch.set_num_threads(1)
    return (drawn(300, 3000)[:1] @ drawn(3000, 200, seed=1))[0]


def row_among_others():
    """The same row, in a batch of 300."""
    torch.set_num_threads(1)
    return (drawn(300, 3000) @ drawn(3000, 200, seed=1))[0]


def atomic_sum(count=400_000):
    """Many numbers added into one place, by two threads."""
    torch.set_num_threads(2)
    place = torch.zeros(count, dtype=torch.long)
    total = torch.zeros(3).index_put_((place,), drawn(count), accumulate=True)
    torch.set_num_threads(1)
    return float(total[0])


def order(seed):
    """A shuffle; None is a seed that the machine draws."""
    draw = torch.Generator()
    draw.seed() if seed is None else draw.manual_seed(seed)
    return torch.randperm(1000, generator=draw).tolist()
