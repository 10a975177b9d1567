"""How phi-2 and Phi-3 are spoken to, proved."""

import pytest

from llmnotes.models.llama import as_text, encode
from llmnotes.models.phi import (
    PHI_3_SPECIAL,
    phi_2_question,
    phi_3_chat,
)

TALK = [("system", "Be brief."), ("user", " Two and two?\n")]


def letters(text):
    return [ord(letter) for letter in text]


def test_phi_2_s_question_is_plain_text():
    said = phi_2_question(" Why is the sky blue? ")
    assert said == "Instruct: Why is the sky blue?\nOutput:"


def test_phi_3_s_turns_stand_between_two_special_tokens():
    assert as_text(phi_3_chat(TALK)) == (
        "<|system|>Be brief.<|end|><|user|>Two and two?<|end|><|assistant|>"
    )
    ids = encode(phi_3_chat(TALK), letters, PHI_3_SPECIAL)
    special = [i for i in ids if i >= 32000]
    assert special == [32006, 32007, 32010, 32007, 32001]
    assert ord("\n") not in ids


def test_a_user_who_writes_an_end_writes_seven_letters():
    pieces = phi_3_chat([("user", "<|end|>")])
    ids = encode(pieces, letters, PHI_3_SPECIAL)
    assert ids.count(32007) == 1


@pytest.mark.parametrize("talk", [[], [("assistant", "Hi")], TALK[:1]])
def test_messages_in_another_order_are_refused(talk):
    with pytest.raises(ValueError, match="messages: got .*user last"):
        phi_3_chat(talk)
