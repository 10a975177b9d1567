"""What the chapter claims of the window and of packed rows, proved."""

from dataclasses import asdict

import pytest
import torch
import transformers as hf

from llmnotes.models import mistral
from llmnotes.models.kv_cache import bytes_per_token, heads_of
from llmnotes.models.llama import Llama, LlamaConfig
from llmnotes.models.mistral import Mistral, MistralConfig, packed
from llmnotes.transformer.gpt import parameters
from tests.models.llama.tiny import scatter
from tests.models.mistral.reaching import influences
from tests.models.mistral.tiny import LONGEST, SHAPE, VOCAB, some_ids, tiny

PUBLISHED = {
    "MISTRAL_7B_V0_1": 7_241_732_096,
    "MISTRAL_7B_V0_2": 7_241_732_096,
    "MISTRAL_7B_V0_3": 7_248_023_552,
    "MISTRAL_NEMO_12B": 12_247_782_400,
    "LAPTOP": 742_784,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_exact(name):
    with torch.device("meta"):  # shapes without numbers
        model = Mistral(getattr(mistral, name))
    assert parameters(model) == PUBLISHED[name]


def test_presets_and_defaults_are_those_of_the_files():
    assert mistral.MISTRAL_7B_V0_1.sliding_window == 4096
    for later in (mistral.MISTRAL_7B_V0_2, mistral.MISTRAL_7B_V0_3):
        assert later.sliding_window is None and later.rope_theta == 1e6
    assert bytes_per_token(heads_of(mistral.MISTRAL_7B_V0_1)) == 131_072
    ours, there = asdict(MistralConfig()), hf.MistralConfig()
    for name in set(ours) - {"rope_theta", "rope_scaling"}:
        assert ours[name] == getattr(there, name), name


def test_a_band_worked_by_hand():
    band = tiny(3).reach(5, 5, torch.device("cpu")).int().tolist()
    assert band == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1],
    ]


@pytest.mark.parametrize("window", [1, 2, 4, 5])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_k_layers_reach_k_times_window_less_one_and_no_further(window, layers):
    model = tiny(window, num_hidden_layers=layers)
    found = influences(model, length=19)
    far = layers * (window - 1)
    assert (found[: far + 1] > 0).all()
    assert (found[far + 1 :] == 0).all()


def test_a_token_outside_the_window_changes_nothing_in_one_layer():
    model, ids = tiny(4, num_hidden_layers=1), some_ids(12)
    before = model(ids)
    for t in range(12):
        changed = ids.clone()
        changed[:, t] = (ids[:, t] + 1) % VOCAB
        after = model(changed)
        same = (after == before).all(-1).all(0).tolist()
        assert same == [not t <= i < t + 4 for i in range(12)]


def test_mistral_7b_reaches_131040_tokens_back():
    config = mistral.MISTRAL_7B_V0_1
    window, layers = config.sliding_window, config.num_hidden_layers
    assert layers * window == 131_072  # as the paper counts
    assert layers * (window - 1) == 131_040


@pytest.mark.parametrize("window", [9, 10, 40, None])
def test_a_window_that_holds_the_text_is_no_window(window):
    model = tiny(window)
    plain = Llama(LlamaConfig(**SHAPE)).double()
    plain.load_state_dict(model.state_dict())
    ids = some_ids(9)
    assert torch.equal(model(ids), plain(ids))
    if window == 9:
        longer = some_ids(10)
        assert not torch.allclose(model(longer), plain(longer))


def test_a_window_of_one_sees_itself_only():
    model, ids = tiny(1), some_ids(6)
    alone = [model(ids[:, i : i + 1]) for i in range(6)]
    torch.testing.assert_close(model(ids), torch.cat(alone, 1))


@pytest.mark.parametrize("window", [1, 3, None])
def test_packed_texts_have_the_logits_they_have_alone(window):
    model = tiny(window)
    texts = [some_ids(n, batch=1, seed=n)[0] for n in (5, 1, 8, 3)]
    for text, got in zip(texts, packed(model, texts), strict=True):
        torch.testing.assert_close(got, model(text[None])[0])


def test_packed_gradients_are_those_of_the_texts_alone():
    model = tiny(3)
    texts = [some_ids(n, batch=1, seed=n)[0] for n in (4, 7)]
    found = []
    for rows in (packed(model, texts), [model(t[None])[0] for t in texts]):
        loss = sum(row.square().sum() for row in rows)
        found.append(torch.autograd.grad(loss, list(model.parameters())))
    for together, alone in zip(*found, strict=True):
        torch.testing.assert_close(together, alone)


def test_a_packed_row_may_be_longer_than_the_model_reads():
    model = tiny(3)
    texts = [some_ids(n, batch=1, seed=n)[0] for n in (LONGEST, 9, LONGEST)]
    got = packed(model, texts)
    torch.testing.assert_close(got[2], model(texts[2][None])[0])


BAD_TEXTS = {
    "texts: got lengths [], expected at least 1": [],
    "texts: got lengths [2, 0], expected at least 1": [2, 0],
    "ids: got 41 tokens with the past, expected at most max_position_embe": (
        [3, 41]
    ),
}


@pytest.mark.parametrize(("message", "sizes"), BAD_TEXTS.items())
def test_texts_that_cannot_be_packed_are_refused(message, sizes):
    texts = [torch.zeros(n, dtype=torch.int64) for n in sizes]
    with pytest.raises(ValueError) as error:
        packed(tiny(3), texts)
    assert str(error.value).startswith(message)


def test_ids_outside_the_vocabulary_are_refused_by_name():
    with pytest.raises(ValueError, match="texts: got 3 to 23, expected 0 to"):
        packed(tiny(3), [torch.tensor([3, 23])])


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_that_cannot_be_is_refused(window):
    with pytest.raises(ValueError, match=f"sliding_window: got {window}, exp"):
        MistralConfig(**SHAPE, sliding_window=window)


def test_a_config_without_a_window_is_refused():
    with pytest.raises(ValueError) as error:
        Mistral(LlamaConfig(**SHAPE))
    assert str(error.value) == (
        "config: got LlamaConfig, expected MistralConfig"
    )


def test_a_config_is_rebuilt_from_what_a_checkpoint_holds():
    for config in (mistral.LAPTOP, mistral.MISTRAL_7B_V0_2):
        assert MistralConfig(**asdict(config)) == config


def test_a_text_beyond_the_longest_is_refused():
    model = scatter(Mistral(MistralConfig(**SHAPE, sliding_window=4)))
    with pytest.raises(ValueError, match="ids: got 41 tokens with the past"):
        model(some_ids(41))
