"""What the chapter claims of Mixtral, proved."""

import pytest
import torch

from llmnotes.models import moe
from llmnotes.models.kv_cache import KVCache
from llmnotes.models.llama import LAPTOP as LLAMA
from llmnotes.models.llama import Llama
from llmnotes.models.moe import (
    Mixtral,
    MixtralConfig,
    active_parameters,
    loads,
    watched,
)
from llmnotes.transformer.gpt import left_padded, parameters
from tests.models.kv_cache.tiny import splits
from tests.models.llama.tiny import scatter, some_ids
from tests.models.moe.tiny import FAMILY, SHAPE

PUBLISHED = {
    "MIXTRAL_8X7B": (46_702_792_704, 12_879_925_248),
    "MIXTRAL_8X22B": (140_620_634_112, 39_152_031_744),
}


def tiny(name="2 of 5", **options):
    """A model of random weights in float64."""
    config = MixtralConfig(**SHAPE | FAMILY[name] | options)
    return scatter(Mixtral(config).double())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_exact(name):
    with torch.device("meta"):  # shapes without numbers
        model = Mixtral(getattr(moe, name))
    assert (parameters(model), active_parameters(model)) == PUBLISHED[name]


@pytest.mark.parametrize("name", FAMILY)
def test_the_counts_follow_from_the_shape(name):
    model = tiny(name)
    c = model.config
    one = 3 * c.hidden_size * c.intermediate_size
    for count, found in (
        (c.num_local_experts, parameters(model)),
        (c.num_experts_per_tok, active_parameters(model)),
    ):
        with torch.device("meta"):
            same = Llama(c)  # with an MLP of the size of one expert
        router = c.num_local_experts * c.hidden_size
        layers = c.num_hidden_layers
        assert found == parameters(same) + layers * (
            router + one * (count - 1)
        )


def test_a_token_of_the_laptop_s_costs_what_llama_s_does():
    routers = 4 * 8 * 128
    with torch.device("meta"):
        ours, llama = Mixtral(moe.LAPTOP), Llama(LLAMA)
    assert active_parameters(ours) == parameters(llama) + routers


def test_one_expert_is_a_llama():
    model = tiny(num_local_experts=1, num_experts_per_tok=1)
    other = Llama(model.config).double().eval()
    found = {}
    for name, tensor in model.state_dict().items():
        layer, _, which = name.rpartition(".experts.")
        if which == "gate_up_proj":
            gate, up = tensor[0].chunk(2)
            found |= {f"{layer}.gate_proj.weight": gate}
            found |= {f"{layer}.up_proj.weight": up}
        elif which == "down_proj":
            found[f"{layer}.down_proj.weight"] = tensor[0]
        elif not name.endswith("mlp.gate.weight"):
            found[name] = tensor
    other.load_state_dict(found)
    ids = some_ids()
    torch.testing.assert_close(model(ids), other(ids))


def test_after_any_split_the_logits_are_those_of_the_whole_text():
    model, ids = tiny(), some_ids(5)
    with torch.no_grad():
        whole = model(ids)
        for sizes in splits(5):
            past = KVCache(5)
            parts = [model(part, past=past) for part in ids.split(sizes, 1)]
            torch.testing.assert_close(torch.cat(parts, 1), whole)


def test_a_padded_row_has_the_logits_that_it_has_alone():
    model, texts = tiny(), [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3]]
    ids, mask = left_padded(texts, pad=7)
    logits = model(ids, mask)
    for row, text in zip(logits, texts, strict=True):
        alone = model(torch.tensor([text]))[0]
        torch.testing.assert_close(row[-len(text) :], alone)


def test_logits_do_not_depend_on_later_tokens():
    model, ids = tiny(), some_ids(9)
    other = ids.clone()
    other[:, 6] = (other[:, 6] + 1) % 23
    same, changed = model(ids), model(other)
    torch.testing.assert_close(same[:, :6], changed[:, :6])
    assert not torch.allclose(same[:, 6], changed[:, 6])


def test_each_layer_decides_for_itself():
    model, ids = tiny(), some_ids(9)
    with watched(model) as routings:
        model(ids)
    assert len(routings) == model.config.num_hidden_layers
    found = [loads(routing).tolist() for routing in routings]
    assert all(sum(counts) == 2 * ids.numel() for counts in found)
    assert found[0] != found[1] != found[2]


def test_all_that_is_wrong_with_a_shape_is_listed():
    with pytest.raises(ValueError) as error:
        MixtralConfig(num_local_experts=0, num_experts_per_tok=3, head_dim=0)
    for words in (
        "num_local_experts: got 0, expected at least 1",
        "num_experts_per_tok: got 3, expected at most num_local_experts = 0",
        "head_dim: got 0, expected at least 1",
    ):
        assert words in str(error.value)
