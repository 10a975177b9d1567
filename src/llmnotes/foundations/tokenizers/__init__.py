"""Text to tokens."""

from llmnotes.foundations.tokenizers.bpe import (
    BytePairs,
    read_gpt2,
    read_tiktoken,
)
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
