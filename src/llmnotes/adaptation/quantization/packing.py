"""Codes of fewer than eight bits, packed into bytes.

    codes  = numbers of `bits` bits each, 0 … 2ᵇ − 1
    packed = their bits one behind the other, the lowest first

Two codes of 4 bits share a byte: the first in its lower half. Eight codes of
3 bits take three bytes.
"""

import numpy as np
import torch
from jaxtyping import Integer, UInt
from torch import Tensor


def pack(codes: Integer[Tensor, "*shape"], bits: int) -> UInt[Tensor, "bytes"]:
    """Return the codes' bits in as few bytes as hold them."""
    if bits == 8:
        return codes.to(torch.uint8, copy=True).reshape(-1)
    plain = codes.to("cpu", torch.uint8).reshape(-1, 1).numpy()
    if bits == 8:
        found = plain[:, 0].copy()
    elif bits == 4 and len(plain) % 2 == 0:  # as below, in a tenth of the time
        low, high = plain[::2, 0], plain[1::2, 0]
        found = low | high << np.uint8(4)
    else:
        each = np.unpackbits(plain, axis=1, bitorder="little")[:, :bits]
        found = np.packbits(each, bitorder="little")
    return torch.from_numpy(found).to(codes.device)


def unpack(
    packed: UInt[Tensor, "bytes"], bits: int, count: int
) -> Integer[Tensor, "codes"]:
    """Return the first `count` codes."""
    if bits == 8:
        return packed[:count].clone()
    plain = packed.cpu().numpy()
    if bits == 8:
        found = plain[:count].copy()
    elif bits == 4 and count == 2 * len(plain):
        halves = plain & np.uint8(15), plain >> np.uint8(4)
        found = np.stack(halves, 1).reshape(-1)
    else:
        each = np.unpackbits(plain, count=count * bits, bitorder="little")
        found = np.packbits(each.reshape(count, bits), 1, bitorder="little")
    return torch.from_numpy(found.reshape(-1)).to(packed.device)
