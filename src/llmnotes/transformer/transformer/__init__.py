"""The Transformer of 2017, with pre-norm as a second class."""

from llmnotes.transformer.transformer.model import (
    BASE,
    BIG,
    DecoderLayer,
    EncoderLayer,
    Layer,
    Memory,
    Stack,
    Transformer,
    TransformerConfig,
    attention_of,
    initialise,
)
