"""Sequence to sequence: two recurrent networks, attention, decoding."""

from llmnotes.sequence.seq2seq.model import (
    AdditiveAttention,
    BahdanauSeq2Seq,
    DotAttention,
    GeneralAttention,
    Memory,
    Seq2Seq,
    TwoWaySeq2Seq,
    additive_scores,
    dot_scores,
    fit,
    loss,
    mix,
)
