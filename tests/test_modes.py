"""Looking at a model leaves no trace in it."""

import pytest
import torch
from torch import nn

from llmnotes.modes import evaluating
from llmnotes.sequence.gru import GRU
from llmnotes.sequence.seq2seq import Seq2Seq
from llmnotes.sequence.seq2seq.decoding import beam_search, greedy
from llmnotes.train import evaluate, evaluate_all
from llmnotes.transformer.gpt import generate
from tests.tiny_run import CONFIG, texts, tiny


def modes(model):
    return [module.training for module in model.modules()]


def test_meanwhile_nothing_drops_out_and_nothing_is_recorded():
    model, ids = tiny(dropout=0.5), torch.arange(5)
    with evaluating(model):
        assert not any(modes(model))
        assert torch.equal(model(ids), model(ids))
        assert not model(ids).requires_grad
    assert all(modes(model)) and model(ids).requires_grad


def test_an_error_inside_leaves_the_modes_as_they_were():
    model = tiny()
    model[2].eval()
    before = modes(model)
    with pytest.raises(ZeroDivisionError), evaluating(model):
        raise ZeroDivisionError
    assert modes(model) == before


def pairs():
    torch.manual_seed(0)
    return Seq2Seq(GRU, 7, 7, 4)


def with_source(search, **options):
    def look(model):
        search(model, torch.tensor([[3, 4, 5]]), max_length=2, **options)

    return look


@pytest.mark.parametrize(
    ("build", "look"),
    [
        (tiny, lambda model: evaluate(model, texts()[1], CONFIG)),
        (tiny, lambda model: evaluate_all(model, texts()[1], CONFIG)),
        (tiny, lambda model: generate(model, torch.tensor([[1, 2]]), 2)),
        (pairs, with_source(greedy)),
        (pairs, with_source(beam_search, beam=2)),
    ],
    ids=["evaluate", "evaluate_all", "generate", "greedy", "beam_search"],
)
@pytest.mark.parametrize("training", [True, False])
def test_a_submodule_that_was_set_apart_stays_so(build, look, training):
    model = build().train(training)
    next(iter(model.children())).train(not training)
    before = modes(model)
    assert len(set(before)) == 2
    look(model)
    assert modes(model) == before


def test_modules_without_parameters_have_modes_too():
    model = nn.Sequential(nn.Dropout(0.1), nn.Dropout(0.2))
    model[1].eval()
    with evaluating(model):
        pass
    assert modes(model) == [True, True, False]
