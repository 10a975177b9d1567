"""How phi-2 and Phi-3 were spoken to: messages -> text and special tokens.

phi-2 was trained to continue texts, many of which are questions with answers,
so its formats are plain text, and it stops when the next text begins. Phi-3
was trained on conversations, in which every turn begins with the name of a
role and ends with `<|end|>`, each a special token. Its template writes a line
break behind each of them, and its tokenizer drops it.

Sources
- Model card of phi-2: "QA format".
- Model card of Phi-3-mini-4k-instruct: "Chat format"; its added tokens.
"""

from collections.abc import Sequence

from llmnotes.models.llama.chat import Message, Special, split_system

END = Special("<|end|>")
PHI_3_SPECIAL = {
    Special("<s>"): 1,
    Special("<|endoftext|>"): 32000,
    Special("<|assistant|>"): 32001,
    Special("<|system|>"): 32006,
    END: 32007,
    Special("<|user|>"): 32010,
}
PHI_2_STOP = 50256  # its <|endoftext|>, the last of GPT-2's tokens


def phi_2_question(question: str) -> str:
    """The prompt to which phi-2 writes a short answer."""
    return f"Instruct: {question.strip()}\nOutput:"


def phi_3_chat(messages: Sequence[Message]) -> list[str]:
    """The prompt to which Phi-3 writes the next answer.

    It ends with the header of that answer, and the answer with END.

    Raises `ValueError` unless messages are an optional system's, then a
    user's and an assistant's in turn, a user's last.
    """
    split_system(messages)
    pieces: list[str] = []
    for role, content in messages:
        pieces += [Special(f"<|{role}|>"), content.strip(), END]
    return [*pieces, Special("<|assistant|>")]
