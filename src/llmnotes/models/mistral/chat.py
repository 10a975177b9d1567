"""How Mistral's Instruct models are spoken to: messages -> pieces.

    message = (role, content); a role is system, user or assistant
    piece   = text, or the name of a special token as a `Special`

Each piece is turned into ids by itself, and SentencePiece begins every text
with a space of its own: that is where the spaces of the format come from.
In the model v0.1 [INST] is text; from v0.2's successor on it is one token.

Sources
- mistral-common 1.13: `InstructTokenizerV1` and `V3`.
"""

from collections.abc import Sequence

from llmnotes.models.llama.chat import (
    BOS,
    EOS,
    Message,
    Special,
    split_system,
)

INST, INST_END = Special("[INST]"), Special("[/INST]")
V1_SPECIAL = {BOS: 1, EOS: 2}
V3_SPECIAL = V1_SPECIAL | {INST: 3, INST_END: 4}


def instruct_v1(messages: Sequence[Message]) -> list[str]:
    """The prompt of 7B Instruct v0.1: the marks are text.

    The system's words stand before the first question.

    Raises `ValueError` for messages in another order than Llama's, and for
    contents that hold a mark.
    """
    pieces: list[str] = [BOS]
    for role, content in joined(messages, at=0):
        check_no_mark(content)
        if role == "user":
            pieces.append(f"[INST] {content} [/INST]")
        else:
            pieces += [content, EOS]
    return pieces


def instruct_v3(messages: Sequence[Message]) -> list[str]:
    """The prompt of 7B Instruct v0.3: the marks are special tokens.

    The system's words stand before the last question.

    Raises `ValueError` for messages in another order than Llama's.
    """
    pieces: list[str] = [BOS]
    for role, content in joined(messages, at=-1):
        if role == "user":
            pieces += [INST, content, INST_END]
        else:
            pieces += [content, EOS]
    return pieces


def joined(messages: Sequence[Message], at: int) -> list[Message]:
    """The turns, with the system's words put before one question."""
    system, turns = split_system(messages)
    if system is not None:
        role, content = turns[at]
        turns[at] = role, f"{system}\n\n{content}"
    return turns


def check_no_mark(content: str) -> None:
    """Raise `ValueError` for text that v0.1 would take for a mark."""
    for mark in (INST, INST_END):
        if mark in content:
            raise ValueError(
                f"messages: got {mark} in a content, expected none: to v0.1 "
                "it is a mark of the format"
            )
