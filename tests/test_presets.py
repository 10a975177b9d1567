"""What the table of models claims, for every model and preset in it."""

from dataclasses import fields, is_dataclass, replace
from pkgutil import resolve_name

import pytest
import torch
from torch import nn

from llmnotes import presets
from llmnotes.presets import MODELS, Model, Preset
from llmnotes.transformer import gpt

ALL = [(m, p) for m, entry in MODELS.items() for p in entry.presets]


@pytest.mark.parametrize("name", list(MODELS))
def test_an_entry_names_a_config_and_a_model(name):
    entry = MODELS[name]
    config, build = map(resolve_name, (entry.config, entry.build))
    assert is_dataclass(config)
    assert "vocab_size" in {field.name for field in fields(config)}
    assert issubclass(build, nn.Module)
    assert entry.about


@pytest.mark.parametrize(("name", "preset"), ALL)
def test_a_preset_fills_the_window_of_its_model(name, preset):
    entry = MODELS[name]
    found = entry.preset(preset)
    shape = resolve_name(found.shape)
    assert type(shape) is resolve_name(entry.config)
    model = resolve_name(entry.build)(replace(shape, vocab_size=7))
    assert model.n_positions == found.training.block
    assert model(torch.zeros(1, 2, dtype=torch.int64)).shape == (1, 2, 7)


@pytest.mark.parametrize("name", [m for m in MODELS if MODELS[m].quick])
def test_the_quick_model_has_the_weights_of_the_plain_one(name):
    entry = MODELS[name]
    shape = replace(resolve_name(entry.preset(None).shape), vocab_size=7)
    quick, plain = (
        resolve_name(place)(shape).state_dict()
        for place in (entry.quick, entry.build)
    )
    assert {k: v.shape for k, v in quick.items()} == {
        k: v.shape for k, v in plain.items()
    }


def test_the_first_preset_is_the_default():
    small, large = (Preset(s, presets.SMALL) for s in ("a:SMALL", "a:LARGE"))
    entry = Model("", "", "", {"small": small, "large": large})
    assert entry.preset(None) is small
    assert entry.preset("large") is large


def test_an_unknown_model_or_preset_is_refused_with_the_known_ones():
    with pytest.raises(ValueError) as error:
        presets.model("mamba")
    names = ", ".join(MODELS)
    assert str(error.value) == f"model: got 'mamba', expected one of {names}"
    with pytest.raises(ValueError, match="'huge', expected one of minigpt, n"):
        MODELS["gpt"].preset("huge")


def test_gpt_is_in_the_table():
    assert resolve_name(MODELS["gpt"].build) is gpt.GPT
