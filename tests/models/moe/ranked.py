"""What each of two ranks does; a module of its own, quick to import."""

import torch
import torch.distributed as dist

from llmnotes.models.moe.ranks import RankedExperts
from tests.models.moe.layers import layer, some_rows

RANKS, EXPERTS, CHOSEN, TOKENS, ROW = 2, 6, 2, 11, 6 * 8


def made():
    return layer(num_local_experts=EXPERTS, num_experts_per_tok=CHOSEN)


def rows_of(rank):
    """Each rank has its own tokens, and another number of them."""
    return some_rows(TOKENS + 2 * rank, seed=rank)


def counted(sent, rank):
    """all_to_all_single, counting the bytes of numbers that leave."""
    plain = dist.all_to_all_single

    def count(out, rows, receives, sends):
        if rows.is_floating_point():
            away = rows.shape[0] - sends[rank]
            sent.append(away * rows.shape[1] * rows.element_size())
        plain(out, rows, receives, sends)

    return count


def work(rank, store, pipe):
    """One rank: forward and back, what came out, and the bytes sent."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", rank=rank, world_size=RANKS,
        store=dist.FileStore(store, RANKS),
    )  # fmt: skip
    sent = []
    dist.all_to_all_single = counted(sent, rank)
    whole, x = made(), rows_of(rank).requires_grad_()
    experts, routing = RankedExperts(whole.experts), whole.gate(x)
    out = experts(x, routing)
    out.square().sum().backward()
    grads = [p.grad for p in experts.parameters()]
    pipe.send([t.tolist() for t in (out, x.grad, *grads)] + [sent])
    dist.barrier()
    dist.destroy_process_group()
