"""Text to tokens."""

from llmnotes.foundations.tokenizers.bits import bits_per_byte
from llmnotes.foundations.tokenizers.bpe import PlainBPE
from llmnotes.foundations.tokenizers.fast import ByteBPE, train
from llmnotes.foundations.tokenizers.files import END_OF_TEXT
from llmnotes.foundations.tokenizers.joining import join
from llmnotes.foundations.tokenizers.saved import load
from llmnotes.foundations.tokenizers.sentencepiece import SentencePieceBPE
from llmnotes.foundations.tokenizers.splitting import split
from llmnotes.foundations.tokenizers.training import plain_train
from llmnotes.foundations.tokenizers.unigram import Unigram
from llmnotes.foundations.tokenizers.wheels import gpt2_ranks, mistral_model
from llmnotes.foundations.tokenizers.wordpiece import (
    CHINESE,
    CONTROL,
    LONGEST_WORD,
    SPECIAL,
    SPECIAL_PATTERN,
    WordPiece,
    clean,
    is_chinese,
    is_punctuation,
    lower,
    normalise,
    pieces,
    space_chinese,
    strip_accents,
    words,
)
