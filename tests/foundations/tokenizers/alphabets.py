"""Texts that find mistakes, and the tokenizers of others."""

import functools

import tiktoken
from hypothesis import strategies as st

from llmnotes.foundations.tokenizers import ByteBPE, gpt2_ranks
from llmnotes.foundations.tokenizers.files import END_OF_TEXT

PATTERN = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
    r"|\s+(?!\S)|\s+"
)
SPECIAL = {END_OF_TEXT: 50_256}
ODD = [
    "",
    " ",
    "  two  spaces ,and a tab\tor\ttwo\t\t",
    "\n\n a\r\n\u00a0\u3000b\u2028c\x1c\x1d\x85d  ",
    "it's they'RE 're ''s 'll'd 't' don't o'clock 'v",
    "1234567890 4½ ⅷ٣x² 3.14",
    "\x00a\x00\x00 \x7f\x01",
    "e\u0301 \u0301\u0301 क्षि नमस्ते สวัสดี 가각 ﷽",
    "👩‍👩‍👧 🇩🇪 \U0001f9ff\U0010ffff\ue000",
    " SolidGoldMagikarp ▁ ▁▁a",
]
# Letters of all kinds, marks and NUL, often beside plain ones.
LETTER = st.characters(exclude_categories=["Cs"]) | st.sampled_from(
    "abcRELVlvst ''  \n\t0123.,-é\u0301\u0302\x00▁中"
)
TEXT = st.text(LETTER, max_size=40)


@functools.cache
def real_gpt2():
    """Ours, compiled, with GPT-2's real ranks."""
    return ByteBPE.from_tiktoken(gpt2_ranks(), SPECIAL)


@functools.cache
def openai():
    """Tiktoken with the same ranks."""
    return tiktoken.Encoding(
        "gpt2",
        pat_str=PATTERN,
        mergeable_ranks=real_gpt2().ids,
        special_tokens=SPECIAL,
    )
