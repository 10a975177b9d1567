"""Sequence to sequence: two recurrent networks, attention, decoding."""

from llmnotes.sequence.seq2seq.model import (
    BahdanauSeq2Seq,
    Memory,
    Seq2Seq,
    TwoWaySeq2Seq,
    fit,
    loss,
)
from llmnotes.sequence.seq2seq.scores import (
    AdditiveAttention,
    DotAttention,
    GeneralAttention,
    additive_scores,
    dot_scores,
    mix,
)
