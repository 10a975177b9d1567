"""How Llama 2 and 3 were spoken to: messages -> text and special tokens.

    message = (role, content); a role is system, user or assistant
    piece   = text, or the name of a special token as a `Special`
    letters = turns text into ids and knows no special tokens
    special = {name: id} of the special tokens

A special token is one id that no text turns into. So a user who writes
`<|eot_id|>` writes ten letters, and ends nobody's turn. Llama 2 has only two
of them, and its other marks are plain text that a user could write; contents
that hold one are refused.

Sources
- Touvron et al. 2023, "Llama 2", arXiv 2307.09288, and `chat_completion` in
  Meta's repository `llama` (generation.py).
- `ChatFormat` in Meta's repository `llama3` (llama/tokenizer.py), and the
  model cards of Llama 3 and 3.1.
"""

from collections.abc import Callable, Mapping, Sequence

Message = tuple[str, str]


class Special(str):
    """The name of a special token: one id, whatever its letters."""


BOS, EOS = Special("<s>"), Special("</s>")
LLAMA_2_SPECIAL = {BOS: 1, EOS: 2}
MARKS = "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"

BEGIN, END = Special("<|begin_of_text|>"), Special("<|end_of_text|>")
HEADER, HEADED = Special("<|start_header_id|>"), Special("<|end_header_id|>")
EOM, EOT = Special("<|eom_id|>"), Special("<|eot_id|>")
PAD = Special("<|finetune_right_pad_id|>")  # from Llama 3.1 on
LLAMA_3_SPECIAL = {
    BEGIN: 128000,
    END: 128001,
    PAD: 128004,
    HEADER: 128006,
    HEADED: 128007,
    EOM: 128008,
    EOT: 128009,
}


def llama_2_chat(messages: Sequence[Message]) -> list[str]:
    """The prompt to which Llama 2 Chat writes the next answer.

    Raises `ValueError` unless messages are an optional system's, then a
    user's and an assistant's in turn, a user's last, and for contents that
    hold a mark of the format.
    """
    system, turns = split_system(messages)
    for _, content in messages:
        check_marks(content)
    if system is not None:
        first = turns[0][1].strip()
        framed = f"<<SYS>>\n{system}\n<</SYS>>\n\n{first}"
        turns = [("user", framed), *turns[1:]]
    pieces: list[str] = []
    for role, content in turns:
        if role == "user":
            pieces += [BOS, f"[INST] {content.strip()} [/INST]"]
        else:  # text of one turn is one piece: a cut would cost a space
            pieces[-1] += f" {content.strip()} "
            pieces.append(EOS)
    return pieces


def llama_3_chat(messages: Sequence[Message]) -> list[str]:
    """The prompt to which Llama 3 Instruct writes the next answer.

    It ends with the header of that answer, and the answer with EOT.

    Raises `ValueError` for messages in another order, as `llama_2_chat`.
    """
    split_system(messages)
    pieces: list[str] = [BEGIN]
    for role, content in messages:
        pieces += [*header(role), f"\n\n{content.strip()}", EOT]
    return [*pieces, *header("assistant"), "\n\n"]


def header(role: str) -> list[str]:
    """Whose turn it is: a role between two special tokens."""
    return [HEADER, role, HEADED]


def split_system(
    messages: Sequence[Message],
) -> tuple[str | None, list[Message]]:
    """The system's message, if there is one, and the turns after it."""
    turns = list(messages)
    system = turns.pop(0)[1] if turns and turns[0][0] == "system" else None
    roles = [role for role, _ in turns]
    expected = ["user", "assistant"] * len(roles)
    if not roles or roles != expected[: len(roles)] or roles[-1] != "user":
        said = ", ".join(role for role, _ in messages) or "no message"
        raise ValueError(
            f"messages: got {said}; expected an optional system, then user "
            "and assistant in turn, user last"
        )
    return system, turns


def check_marks(content: str) -> None:
    """Raise `ValueError` for text that Llama 2 would take for a mark."""
    for mark in MARKS:
        if mark in content:
            raise ValueError(
                f"messages: got {mark} in a content, expected none of "
                f"{' '.join(MARKS)}: to Llama 2 they are not text"
            )


def as_text(pieces: Sequence[str]) -> str:
    """The pieces in a row, as templates are usually shown."""
    return "".join(pieces)


def encode(
    pieces: Sequence[str],
    letters: Callable[[str], Sequence[int]],
    special: Mapping[str, int],
) -> list[int]:
    """Ids of a prompt: special tokens by name, everything else by letters.

    Raises `ValueError` for a special token that the table does not have.
    """
    ids: list[int] = []
    for piece in pieces:
        if not isinstance(piece, Special):
            ids += letters(piece)
        elif piece in special:
            ids.append(special[piece])
        else:
            raise ValueError(
                f"pieces: got {piece}, expected one of {', '.join(special)}"
            )
    return ids
