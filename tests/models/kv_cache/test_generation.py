"""What the chapter claims of writing on with a cache, proved."""

import pytest
import torch
import transformers as hf
from torch import nn

from llmnotes.models.kv_cache import KVCache, generate, stream
from llmnotes.models.llama import Llama, LlamaConfig
from llmnotes.transformer.gpt import generate as recompute
from llmnotes.transformer.gpt import left_padded
from tests.models.kv_cache.tiny import (
    LONGEST,
    PROMPTS,
    VOCAB,
    gpt,
    llama,
    models,
    some_ids,
)
from tests.models.llama.tiny import FAMILY, SHAPE, theirs

MODELS = models()
IDS, MASK = left_padded(PROMPTS, pad=7)
LENGTHS = MASK.sum(1)


@pytest.mark.parametrize("name", MODELS)
def test_a_cached_text_is_the_recomputed_one(name):
    model = MODELS[name]
    right = recompute(model, some_ids(), 12, temperature=0)
    assert torch.equal(generate(model, some_ids(), 12, temperature=0), right)
    assert len(right[:, 6:].unique()) > 1  # not one token for ever


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_writes_what_each_prompt_writes_alone(name):
    model = MODELS[name]
    for chunk in (None, 1, 2, 3):
        together = generate(
            model, IDS, 9, lengths=LENGTHS, temperature=0, chunk=chunk
        )
        for row, prompt in zip(together, PROMPTS, strict=True):
            alone = generate(model, torch.tensor([prompt]), 9, temperature=0)
            assert torch.equal(row[-9 - len(prompt) :], alone[0])
    # Without lengths the padding is a part of the text.
    assert not torch.equal(generate(model, IDS, 9, temperature=0), together)


def same_weights(other, change):
    """Our model with the weights of Hugging Face's."""
    model = Llama(LlamaConfig(**SHAPE | change))
    model.load_state_dict(other.state_dict(), strict=True)
    return model


@pytest.mark.parametrize("kind", ["MHA", "GQA", "llama3 scaling"])
@pytest.mark.parametrize("padded", [False, True])
def test_greedy_ids_equal_hugging_face(kind, padded):
    other = theirs(FAMILY[kind])
    model = same_weights(other, FAMILY[kind])
    if padded:
        ids, mask = left_padded([[3, 1, 4], [1], [5, 9, 2, 6, 5]])
    else:
        ids = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])
        mask = torch.ones_like(ids, dtype=torch.bool)
    right = other.generate(
        ids, attention_mask=mask.long(), max_new_tokens=16, do_sample=False,
        pad_token_id=0,
    )  # fmt: skip
    got = generate(model, ids, 16, lengths=mask.sum(1), temperature=0)
    assert torch.equal(got, right)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_their_forward_counts_padding_which_only_rope_forgives(family):
    same = dict(vocab_size=VOCAB, bos_token_id=None, eos_token_id=None)
    if family == "gpt2":
        config = hf.GPT2Config(**same, n_embd=24, n_layer=2, n_head=4)
    else:
        config = hf.LlamaConfig(**same | SHAPE | dict(vocab_size=VOCAB))
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(config).eval()
    place = (MASK.cumsum(1) - 1).clamp(min=0)
    alone = model(torch.tensor([PROMPTS[1]])).logits[0, -1]
    seen = dict(input_ids=IDS, attention_mask=MASK.long())
    counted = model(**seen).logits[1, -1]
    right = model(**seen, position_ids=place).logits[1, -1]
    torch.testing.assert_close(right, alone)
    assert torch.allclose(counted, alone, atol=1e-5) == (family == "llama")


def test_the_same_seed_draws_the_same_text_with_and_without_cache():
    model = MODELS["GQA"]
    found = []
    for write in (generate, recompute):
        seed = torch.Generator().manual_seed(3)
        found.append(
            write(
                model, some_ids(), 12, generator=seed, temperature=3.0, top_k=9
            )
        )
    assert torch.equal(*found)


class Counter(nn.Module):
    """Says the successor of the last token, modulo 7; knows no past."""

    def forward(self, ids):
        assert not self.training
        return 50.0 * nn.functional.one_hot((ids + 1) % 7, 7).float()


def test_a_model_without_a_past_is_recomputed_whole():
    ids = torch.tensor([[1, 2], [3, 4]])
    assert generate(Counter(), ids, 3).tolist() == [
        [1, 2, 3, 4, 5],
        [3, 4, 5, 6, 0],
    ]


def test_each_token_is_read_once():
    seen = []

    class Watched(Llama):
        def forward(self, ids, mask=None, past=None):
            seen.append(ids.shape[1])
            return super().forward(ids, mask, past)

    model = llama()
    model.__class__ = Watched
    generate(model, some_ids(2, 6), 5)
    assert seen == [6, 1, 1, 1, 1]
    seen.clear()
    generate(model, some_ids(2, 6), 2, chunk=4)
    assert seen == [4, 2, 1]


def test_a_conversation_reads_only_what_is_new():
    model, past = llama(), KVCache(LONGEST)
    first = generate(model, some_ids(), 4, past=past, temperature=0)
    assert past.length == 9  # all but the last token
    longer = torch.cat([first, some_ids(seed=5)], 1)
    again = generate(model, longer, 4, past=past, temperature=0)
    assert torch.equal(again, generate(model, longer, 4, temperature=0))


def test_rows_end_at_their_stop_and_all_ended_end_it_all():
    ids = torch.tensor([[1], [3]])
    out = generate(Counter(), ids, 20, stop=5)
    assert out.tolist() == [[1, 2, 3, 4, 5], [3, 4, 5, 5, 5]]
    out = generate(Counter(), torch.tensor([[5], [2]]), 20, stop=[0, 1])
    assert out.tolist() == [[5, 6, 0, 1, 1, 1, 1], [2, 3, 4, 5, 6, 0, 1]]
    # A stop in the prompt ends nothing, nor one that the prompt begins.
    ids = torch.tensor([[4, 5]])
    assert generate(Counter(), ids, 2, stop=5).tolist() == [[4, 5, 6, 0]]
    assert generate(Counter(), ids, 2, stop=[5, 6]).shape == (1, 4)


@pytest.mark.parametrize("name", MODELS)
def test_stops_are_those_of_the_recomputed_text(name):
    model = MODELS[name]
    free = recompute(model, IDS, 9, mask=MASK, temperature=0)
    for stop in (free[0, 8].item(), free[2, 7:9].tolist()):
        right = recompute(model, IDS, 9, mask=MASK, temperature=0, stop=stop)
        got = generate(
            model, IDS, 9, lengths=LENGTHS, temperature=0, stop=stop
        )
        assert torch.equal(got, right)


def test_a_stream_is_the_text_column_by_column():
    model = llama()
    columns = list(stream(model, IDS, 5, lengths=LENGTHS, temperature=0))
    whole = generate(model, IDS, 5, lengths=LENGTHS, temperature=0)
    assert torch.equal(torch.stack(columns, 1), whole[:, 5:])


def test_modes_grad_and_prompt_are_left_as_they_were():
    model, before = llama().train(), IDS.clone()
    model.model.norm.eval()
    modes = [m.training for m in model.modules()]
    text = stream(model, IDS, 3, lengths=LENGTHS)
    for _ in text:
        assert torch.is_grad_enabled()
        assert [m.training for m in model.modules()] == modes
    assert torch.equal(IDS, before)
    assert all(p.grad is None for p in model.parameters())


def test_columns_that_are_padding_throughout_are_not_read():
    model = llama()
    wide = torch.cat([torch.full((3, 60), 7), IDS], 1)  # more than fit
    got = generate(model, wide, 4, lengths=LENGTHS, temperature=0)
    right = generate(model, IDS, 4, lengths=LENGTHS, temperature=0)
    assert torch.equal(got[:, :60], wide[:, :60])
    assert torch.equal(got[:, 60:], right)


def test_nothing_new_is_the_prompt_and_the_last_token_needs_no_room():
    assert torch.equal(generate(llama(), IDS, 0), IDS)
    ids = some_ids(1, LONGEST)
    for model in (llama(), gpt()):
        assert generate(model, ids, 1).shape == (1, LONGEST + 1)


BAD = {
    "ids: got shape (1, 0), expected no empty axis": dict(
        ids=torch.zeros(1, 0).long()
    ),
    "ids: got shape (0, 3), expected no empty axis": dict(
        ids=torch.zeros(0, 3).long()
    ),
    "ids: got torch.float32, expected an integer dtype": dict(
        ids=torch.zeros(1, 3)
    ),
    "ids: got 41 tokens and 2 new ones, expected at most n_positions + 1 = "
    "41 in all": dict(ids=torch.zeros(1, 41).long()),
    "ids: got 40 tokens and 2 new ones, expected at most n_positions + 1 = "
    "41 in all": dict(ids=torch.zeros(1, 40).long()),
    "lengths: got 0 to 3, expected 1 to 5": dict(
        lengths=torch.tensor([3, 0, 2])
    ),
    "lengths: got 1 to 6, expected 1 to 5": dict(
        lengths=torch.tensor([3, 1, 6])
    ),
    "lengths: got batch 2, expected ids' 3": dict(
        lengths=torch.tensor([3, 1])
    ),
    "new_tokens: got -1, expected at least 0": dict(new_tokens=-1),
    "chunk: got 0, expected at least 1": dict(chunk=0),
    "temperature: got -1.0, expected 0 or more": dict(temperature=-1.0),
    "stop: got [], expected an id or some": dict(stop=[]),
    "past: got 5 tokens, expected fewer than ids' 5, whose first ones they "
    "are": dict(past=True),
    "lengths: got unequal ones, expected a model whose forward takes a "
    "mask, not Counter": dict(model=Counter(), lengths=LENGTHS),
    "past: got KVCache, expected none: the forward of Counter takes no "
    "past": dict(model=Counter(), past=KVCache(3)),
}


@pytest.mark.parametrize(("message", "change"), BAD.items())
def test_calls_that_cannot_be_answered_are_named(message, change):
    model = llama()
    call = dict(model=model, ids=IDS, new_tokens=2) | change
    if call.get("past") is True:
        call["past"] = KVCache(9)
        model(IDS, past=call["past"])
    for write in (generate, stream):
        with pytest.raises(ValueError) as error:
            write(**call)
        assert str(error.value) == message


def test_logits_of_which_none_can_be_drawn_are_named():
    model = llama()
    model.lm_head.weight.data[3] = torch.nan
    for temperature in (0, 1.0):
        with pytest.raises(ValueError, match="^logits: got nan as the"):
            generate(model, IDS, 1, temperature=temperature)
