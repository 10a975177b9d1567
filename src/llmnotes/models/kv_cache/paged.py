"""A cache in blocks: room is taken as a text grows, wherever some is free.

    block  = room for `size` tokens of one text in all layers
    pool   = all blocks of a machine, and which are free
    table  = the blocks of one text, in its order
    row    = what one text has read: a `past` for a batch of one
    waiting, running = requests without and with blocks

A text's blocks may lie anywhere; its table says where. So nothing is
reserved for tokens that may never be written, and at most size - 1 places
of a text's last block are empty. Our rows are gathered into one array for
PyTorch's attention; a kernel for the purpose reads through the table.

Sources
- Kwon et al. 2023, "Efficient Memory Management for Large Language Model
  Serving with PagedAttention" (vLLM), arXiv 2309.06180, §3 (waste), §4.
- Yu et al. 2022, "Orca", OSDI (continuous batching, there: iteration-level
  scheduling).
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_sizes
from llmnotes.modes import evaluating


class Pool:
    """So many blocks of so many tokens, for all texts together.

    Raises `ValueError` for sizes below 1; `take` where no block is free.
    """

    def __init__(self, blocks: int, size: int = 16):
        check_sizes(blocks=blocks, size=size)
        self.blocks, self.size = blocks, size
        self.free = list(reversed(range(blocks)))
        self.store: dict[int, Tensor] = {}

    def take(self) -> int:
        """Return the number of a block that is nobody else's now."""
        if not self.free:
            raise ValueError(
                f"pool: got no free block, all {self.blocks} used"
            )
        return self.free.pop()

    def layer(self, layer: int, key: Tensor) -> Tensor:
        """A layer's blocks, (2, blocks, size, kv_heads, head_dim)."""
        if layer not in self.store:
            _, heads, _, width = key.shape
            shape = 2, self.blocks, self.size, heads, width
            self.store[layer] = key.new_zeros(shape)
        return self.store[layer]


class Row:
    """One text's past: a table of blocks, taken when they are needed."""

    def __init__(self, pool: Pool):
        self.pool, self.table = pool, []
        self.filled: dict[int, int] = {}

    @property
    def length(self) -> int:
        """Tokens that every layer has read."""
        return min(self.filled.values(), default=0)

    def blocks_for(self, new: int) -> int:
        """How many more blocks so many new tokens need."""
        size = self.pool.size
        return -(-(self.length + new) // size) - len(self.table)

    def places(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Block and slot of each token; takes blocks for new ones."""
        while len(self.table) * self.pool.size < stop:
            self.table.append(self.pool.take())
        at = torch.arange(start, stop)
        blocks = torch.tensor(self.table)
        return blocks[at // self.pool.size], at % self.pool.size

    def extend(
        self,
        layer: int,
        key: Float[Tensor, "1 kv_heads new head_dim"],
        value: Float[Tensor, "1 kv_heads new head_dim"],
    ) -> tuple[Tensor, Tensor]:
        """Write the new into blocks; gather old and new through the table."""
        start = self.filled.get(layer, 0)
        stop = start + key.shape[2]
        block, slot = self.places(0, stop)
        store = self.pool.layer(layer, key)
        new = torch.stack([key[0], value[0]]).transpose(1, 2)
        store[:, block[start:], slot[start:]] = new
        self.filled[layer] = stop
        return tuple(store[:, block, slot].transpose(1, 2)[:, None])

    def release(self) -> None:
        """Give all blocks back; the text was never read."""
        self.pool.free += reversed(self.table)
        self.table, self.filled = [], {}


class Together:
    """The pasts of several texts as one, padded on the left for one step."""

    def __init__(self, rows: list[Row]):
        self.rows = rows
        self.length = max(row.length for row in rows)

    def mask(self) -> Tensor:
        """Which of past and one new token are real."""
        place = torch.arange(self.length + 1)
        first = torch.tensor([self.length - row.length for row in self.rows])
        return place >= first[:, None]

    def extend(self, layer: int, key: Tensor, value: Tensor) -> list[Tensor]:
        """Let each row write its own; put all in one array."""
        read = [
            row.extend(layer, key[i : i + 1], value[i : i + 1])
            for i, row in enumerate(self.rows)
        ]
        total = self.length + key.shape[2]
        return [
            torch.cat([F.pad(x, (0, 0, total - x.shape[2], 0)) for x in side])
            for side in zip(*read, strict=True)
        ]


@dataclass(eq=False)  # two requests may read alike
class Request:
    """A prompt, how much may be written, and what was written so far."""

    prompt: Int[Tensor, "length"]
    new_tokens: int
    stop: int | None = None
    written: list[int] = field(default_factory=list)
    row: Row | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more is to be written."""
        full = len(self.written) >= self.new_tokens
        return full or (self.stop is not None and self.stop in self.written)

    @property
    def text(self) -> Int[Tensor, "1 longer"]:
        """Prompt and answer so far."""
        written = self.prompt.new_tensor(self.written)
        return torch.cat([self.prompt, written])[None]


class Server:
    """Continuous batching: who has ended leaves at once, the next comes in.

    One `step` reads the prompts of those that are let in, then one token of
    all that run. When blocks run out, the youngest gives its own back and
    waits; its text is read again later. Greedy.
    """

    def __init__(self, model: nn.Module, pool: Pool, most: int = 8):
        check_sizes(most=most)
        self.model, self.pool, self.most = model, pool, most
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.rows_of_step: list[int] = []  # how many ran, step by step

    def add(self, request: Request) -> None:
        """Let a request wait.

        Raises `ValueError` for an empty one, and if it could not run even
        alone.
        """
        check_sizes(prompt=len(request.prompt), new_tokens=request.new_tokens)
        total = len(request.prompt) + request.new_tokens - 1
        room = self.pool.blocks * self.pool.size
        if total > room:
            raise ValueError(
                f"request: got {total} tokens to keep, expected at most the "
                f"pool's {room}"
            )
        self.waiting.append(request)

    def step(self) -> None:
        """Let in whom there is room for; write one token of each."""
        self.let_in()
        self.make_room()
        self.rows_of_step.append(len(self.running))
        decoding = [r for r in self.running if r.row.length]
        fresh = [r for r in self.running if not r.row.length]
        for request in fresh:
            self.say([request], self.read(request.text, request.row))
        if decoding:
            last = torch.cat([r.text[:, -1:] for r in decoding])
            past = Together([r.row for r in decoding])
            self.say(decoding, self.read(last, past, past.mask()))
        for request in [r for r in self.running if r.done]:
            self.leave(request)

    def let_in(self) -> None:
        """Start who waits, as long as there are blocks for the prompt."""
        promised = 0
        while self.waiting and len(self.running) < self.most:
            row, text = Row(self.pool), self.waiting[0].text
            promised += row.blocks_for(text.shape[1])
            if promised > len(self.pool.free):
                break
            request = self.waiting.popleft()
            request.row = row
            self.running.append(request)

    def make_room(self) -> None:
        """Send the youngest away until this step's blocks are free."""
        while self.needed() > len(self.pool.free):
            youngest = self.running[-1]
            self.leave(youngest)
            self.waiting.appendleft(youngest)

    def needed(self) -> int:
        """Blocks that this step will take."""
        unread = (r.text.shape[1] - r.row.length for r in self.running)
        return sum(
            r.row.blocks_for(new)
            for r, new in zip(self.running, unread, strict=True)
        )

    def leave(self, request: Request) -> None:
        """Take a request out of the batch and its blocks back."""
        request.row.release()
        self.running.remove(request)

    def read(self, ids: Tensor, past, mask: Tensor | None = None) -> Tensor:
        """Return the likeliest next token of each text."""
        with evaluating(self.model):
            return self.model(ids, mask, past=past)[:, -1].argmax(-1)

    def say(self, requests: list[Request], new: Tensor) -> None:
        """Write down what was said."""
        for request, token in zip(requests, new.tolist(), strict=True):
            request.written.append(token)


def serve(
    model: nn.Module, requests: Iterable[Request], pool: Pool, most: int = 8
) -> Server:
    """Answer all requests; returns the server, which has counted its steps."""
    server = Server(model, pool, most)
    for request in requests:
        server.add(request)
    while server.waiting or server.running:
        server.step()
    return server
