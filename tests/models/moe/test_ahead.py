"""Multi-token prediction: what each head says, and of which token."""

import pytest
import torch
import torch.nn.functional as F

from llmnotes.models.llama import LlamaConfig
from llmnotes.models.moe import AheadLlama, ahead_loss
from tests.models.llama.tiny import SHAPE, scatter, some_ids

CONFIG = LlamaConfig(**SHAPE | {"num_hidden_layers": 4})


def far(ahead=3):
    return scatter(AheadLlama(CONFIG, ahead).double())


def test_the_first_head_is_the_llama_itself():
    model, ids = far(), some_ids(9)
    logits = model.ahead(ids)
    assert logits.shape == (3, 3, 9, 23)
    torch.testing.assert_close(logits[0], model(ids))
    assert not torch.allclose(logits[1], logits[0])


def test_head_i_is_judged_by_the_token_i_places_on():
    model, ids = far(), some_ids(9)
    losses = ahead_loss(model, ids)
    logits = model.ahead(ids)
    for i in range(3):
        right = [
            F.cross_entropy(logits[i, b, t], ids[b, t + 1 + i])
            for b in range(3)
            for t in range(6)
        ]
        torch.testing.assert_close(losses[i], torch.stack(right).mean())


def test_heads_do_not_see_what_they_predict():
    model, ids = far(), some_ids(9)
    other = ids.clone()
    other[:, 5:] = (other[:, 5:] + 1) % 23
    a, b = model.ahead(ids), model.ahead(other)
    torch.testing.assert_close(a[:, :, :5], b[:, :, :5])


def test_texts_too_short_and_heads_too_few_are_refused():
    with pytest.raises(ValueError, match="ids: got length 3, expected more"):
        ahead_loss(far(), some_ids(3))
    with pytest.raises(ValueError, match="ahead: got 0, expected at least 1"):
        AheadLlama(CONFIG, 0)
