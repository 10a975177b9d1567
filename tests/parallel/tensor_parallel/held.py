"""What a rank keeps of one block for the way back."""

import time

import torch

from llmnotes.parallel import tensor_parallel as tp
from llmnotes.parallel.data_parallel import Living
from llmnotes.transformer import gpt
from tests.parallel.tensor_parallel.split import WAYS

BATCH, LENGTH, CONFIG = 2, 48, gpt.GPTConfig(n_embd=96, n_head=12, n_layer=1)


def kept(way):
    """Numbers alive behind the forward pass of a block, its output too."""
    torch.manual_seed(0)
    ways = WAYS[way]()
    block = tp.Block(gpt.Block(CONFIG), ways)
    x = torch.randn(BATCH, LENGTH, CONFIG.n_embd, requires_grad=True)
    x = ways.tokens(x, 1).detach().requires_grad_()
    with Living() as living:
        out = block(x)
    time.sleep(0.1)  # gloo's thread lets go of what it sent a moment later
    return living.bytes // out.element_size() + x.numel()


def everything():
    """Both ways."""
    return {way: kept(way) for way in WAYS}
