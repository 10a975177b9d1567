r"""Sequence to sequence: read with one recurrence, write with another.

    source, target_in = x_1 … x_T, y_0 … y_{n-1}  (token numbers; y_0 = START)
    values            = h_1 … h_T  (the encoder's outputs, one per position)
    hidden            = s_1 … s_n  (the decoder's outputs)
    combine           = Luong's W_c

Sources
- Sutskever, Vinyals & Le 2014, "Sequence to Sequence Learning with Neural
  Networks", arXiv 1409.3215.
- Cho et al. 2014, "Learning Phrase Representations using RNN
  Encoder-Decoder", arXiv 1406.1078.
- Bahdanau, Cho & Bengio 2014, "Neural Machine Translation by Jointly
  Learning to Align and Translate", arXiv 1409.0473.
- Luong, Pham & Manning 2015, "Effective Approaches to Attention-based
  Neural Machine Translation", arXiv 1508.04025.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes import train
from llmnotes.checks import check_sizes, check_within, checked
from llmnotes.lengths import Lengths, read_lengths
from llmnotes.run import History
from llmnotes.sequence.rnn import Recurrent, State
from llmnotes.sequence.seq2seq.pairs import PAD, Batch
from llmnotes.sequence.seq2seq.scores import mix
from llmnotes.task import Task
from llmnotes.train import EVALUATION
from llmnotes.train_config import TrainConfig


class Memory(NamedTuple):
    """What the encoder leaves for the decoder."""

    state: Tensor | State  # after the last token: all a plain decoder gets
    values: Tensor  # (batch, key, hidden)
    keys: Tensor  # (batch, key, width)
    seen: Tensor  # (batch, key), False at padding


class Seq2Seq(nn.Module):
    """Encoder and decoder of one recurrent kind, with or without attention.

    Without, the decoder starts from the encoder's last state and sees
    nothing else of the source (Sutskever et al. 2014; Cho et al. 2014). With,
    every output of the decoder also asks the encoder's outputs (Luong et al.
    2015).

    `recurrent` is `RNN`, `LSTM` or `GRU`; `attention` has `keys` and
    `scores`. Raises `ValueError` for sizes below 1.
    """

    def __init__(
        self,
        recurrent: type[Recurrent],
        source_vocab: int,
        target_vocab: int,
        hidden_size: int,
        attention: nn.Module | None = None,
    ):
        super().__init__()
        check_sizes(
            source_vocab=source_vocab,
            target_vocab=target_vocab,
            hidden_size=hidden_size,
        )
        self.source_embedding = nn.Embedding(source_vocab, hidden_size)
        self.target_embedding = nn.Embedding(target_vocab, hidden_size)
        self.encoder = recurrent(hidden_size, hidden_size)
        self.decoder = recurrent(hidden_size, hidden_size)
        self.attention = attention
        if attention is not None:
            self.combine = nn.Linear(2 * hidden_size, hidden_size, bias=False)
        self.head = nn.Linear(hidden_size, target_vocab)

    @checked
    def encode(
        self,
        source: Int[Tensor, "batch key"],
        source_lengths: Lengths | None = None,
    ) -> Memory:
        """Read the source, up to each row's length."""
        vocab, length = self.source_embedding.num_embeddings, source.shape[1]
        check_within(0, vocab - 1, source=source)
        if source_lengths is not None:
            source_lengths = read_lengths(
                source=source, source_lengths=source_lengths
            )
        values, state = self.encoder(
            self.source_embedding(source), lengths=source_lengths
        )
        seen = torch.ones_like(source, dtype=torch.bool)
        if source_lengths is not None:
            place = torch.arange(length, device=source.device)
            seen = place < source_lengths[:, None]
        ask = self.attention is not None
        keys = self.attention.keys(values) if ask else values
        return Memory(state, values, keys, seen)

    def attend(
        self, hidden: Float[Tensor, "batch query hidden"], memory: Memory
    ) -> tuple[
        Float[Tensor, "batch query hidden"], Float[Tensor, "batch query key"]
    ]:
        """The context of every query, and the weights it is made with."""
        keys = memory.keys.masked_fill(~memory.seen[..., None], 0)
        scores = self.attention.scores(hidden, keys)
        return mix(scores, memory.values, memory.seen)

    def run(
        self, target_in: Int[Tensor, "batch query"], memory: Memory
    ) -> tuple[Float[Tensor, "batch query hidden"], Tensor | None]:
        """What the head reads at every position, and the weights."""
        embedded = self.target_embedding(target_in)
        hidden, _ = self.decoder(embedded, memory.state)
        if self.attention is None:
            return hidden, None
        context, weights = self.attend(hidden, memory)
        both = torch.cat([context, hidden], -1)
        return torch.tanh(self.combine(both)), weights

    @checked
    def decode(
        self, target_in: Int[Tensor, "batch query"], memory: Memory
    ) -> Float[Tensor, "batch query vocab"]:
        """Logits of the token after each of target_in."""
        self.check_target(target_in, memory)
        return self.head(self.run(target_in, memory)[0])

    @checked
    def forward(
        self,
        source: Int[Tensor, "batch key"],
        target_in: Int[Tensor, "batch query"],
        source_lengths: Lengths | None = None,
    ) -> Float[Tensor, "batch query vocab"]:
        """Logits at every position of a target that is given."""
        return self.decode(target_in, self.encode(source, source_lengths))

    @checked
    @torch.no_grad()
    def alignment(
        self,
        source: Int[Tensor, "batch key"],
        target_in: Int[Tensor, "batch query"],
        source_lengths: Lengths | None = None,
    ) -> Float[Tensor, "batch query key"]:
        """Which source position each written token was taken from.

        Raises `ValueError` for a model without attention.
        """
        if self.attention is None:
            raise ValueError("attention: got None, expected a module")
        memory = self.encode(source, source_lengths)
        self.check_target(target_in, memory)
        return self.run(target_in, memory)[1]

    def check_target(self, target_in: Tensor, memory: Memory) -> None:
        """Raise `ValueError` for unknown tokens or rows of another batch."""
        vocab, rows = self.target_embedding.num_embeddings, len(memory.seen)
        check_within(0, vocab - 1, target_in=target_in)
        if len(target_in) != rows:
            raise ValueError(
                f"target_in: got batch {len(target_in)}, expected memory's "
                f"{rows}"
            )


class TwoWaySeq2Seq(Seq2Seq):
    """The same, but that its encoder reads both ways.

    So h_j knows what stands on either side of j. The two directions share
    hidden_size between them and lie side by side in values and state.
    Raises `ValueError` unless hidden_size is even.

    Source: Bahdanau et al. 2014, §3.2.
    """

    def __init__(
        self,
        recurrent: type[Recurrent],
        source_vocab: int,
        target_vocab: int,
        hidden_size: int,
        attention: nn.Module | None = None,
    ):
        if hidden_size % 2:
            raise ValueError(f"hidden_size: got {hidden_size}, expected even")
        super().__init__(
            recurrent, source_vocab, target_vocab, hidden_size, attention
        )
        self.encoder = recurrent(
            hidden_size, hidden_size // 2, bidirectional=True
        )

    @checked
    def encode(
        self,
        source: Int[Tensor, "batch key"],
        source_lengths: Lengths | None = None,
    ) -> Memory:
        """Read the source both ways; the state is as wide as the decoder's."""
        memory = super().encode(source, source_lengths)
        join = "directions batch half -> 1 batch (directions half)"
        if isinstance(memory.state, Tensor):
            state = rearrange(memory.state, join)
        else:
            state = tuple(rearrange(s, join) for s in memory.state)
        return memory._replace(state=state)


class BahdanauSeq2Seq(TwoWaySeq2Seq):
    """Attention inside the loop, by the state before.

    The context is an input of the decoder's step, so positions wait for each
    other.

    Source: Bahdanau et al. 2014.
    """

    def __init__(
        self,
        recurrent: type[Recurrent],
        source_vocab: int,
        target_vocab: int,
        hidden_size: int,
        attention: nn.Module,
    ):
        super().__init__(
            recurrent, source_vocab, target_vocab, hidden_size, attention
        )
        self.decoder = recurrent(2 * hidden_size, hidden_size)

    def run(
        self, target_in: Int[Tensor, "batch query"], memory: Memory
    ) -> tuple[Float[Tensor, "batch query hidden"], Tensor]:
        """Ask with s_{i-1}, step with what came, token by token."""
        state, outputs = memory.state, []
        for token in self.target_embedding(target_in).unbind(1):
            last = state if isinstance(state, Tensor) else state[0]
            context, weights = self.attend(last.transpose(0, 1), memory)
            step = torch.cat([token[:, None], context], -1)
            hidden, state = self.decoder(step, state)
            outputs.append((hidden, context, weights))
        hidden, context, weights = (
            torch.cat(parts, 1) for parts in zip(*outputs, strict=True)
        )
        read = torch.tanh(self.combine(torch.cat([context, hidden], -1)))
        return read, weights


def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Mean cross-entropy per target token; padding does not count.

    Teacher forcing: at every position the decoder is shown the right tokens
    so far, whatever it would have written.
    """
    logits = model(batch.source, batch.target_in, batch.source_lengths)
    return F.cross_entropy(
        logits.flatten(0, 1), batch.target_out.flatten(), ignore_index=PAD
    )


class Translation(Task):
    """Write the target of a source; judged on a batch no step has."""

    def __init__(self, batch_at: Callable[[int], Batch]):
        self.batch = batch_at

    def loss(self, model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        """Mean cross-entropy per target token."""
        return loss(model, batch)

    def evaluate(self, model: nn.Module) -> float:
        """Its loss on another batch."""
        return loss(model, self.batch(EVALUATION)).item()


def fit(
    model: nn.Module,
    batch_at: Callable[[int], Batch],
    config: TrainConfig,
    **options,
) -> History:
    """Train in place on `batch_at(step)`; `options` are `train.fit`'s."""
    return train.fit(model, Translation(batch_at), config, **options)
