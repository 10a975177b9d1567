"""Looks among recurrent layers: same numbers, whichever way it is read."""

import pytest
import torch
from torch import nn

from llmnotes.models.kv_cache import generate
from llmnotes.models.mamba import MambaConfig, QuickMamba
from llmnotes.models.mamba.hybrid import Hybrid, Look

CONFIG = MambaConfig(11, 6, 3, num_hidden_layers=3)


def built(looks=(1,), seed=0):
    torch.manual_seed(seed)
    return Hybrid(CONFIG, looks).double().eval()


def ids(length, batch=2, seed=1):
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(11, (batch, length), generator=draws)


def test_without_a_look_it_is_mamba():
    hybrid = built(())
    other = QuickMamba(CONFIG).double().eval()
    other.load_state_dict(hybrid.state_dict())
    assert torch.equal(hybrid(ids(7)), other(ids(7)))


def test_a_look_is_the_paper_s_formula_and_so_is_its_gradient():
    torch.manual_seed(0)
    look = Look(CONFIG, 0, heads=2).double()
    x = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    part = look.attention
    rows = []
    for t in range(5):  # one token after the other, head by head
        q, k, v = (
            f(x).unflatten(-1, (2, -1))
            for f in (part.q_proj, part.k_proj, part.v_proj)
        )
        score = torch.einsum("bhd,bshd->bhs", q[:, t], k[:, : t + 1])
        weight = torch.softmax(score / q.shape[-1] ** 0.5, -1)
        seen = torch.einsum("bhs,bshd->bhd", weight, v[:, : t + 1])
        rows.append(part.o_proj(seen.flatten(1)))
    theirs, ours = torch.stack(rows, 1), look(x)
    torch.testing.assert_close(ours, theirs)
    inputs = x, *look.parameters()
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), inputs),
        torch.autograd.grad(theirs.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("looks", [(), (0,), (1,), (0, 2), (0, 1, 2)])
def test_after_any_split_the_logits_are_those_of_the_whole(looks):
    model, text = built(looks), ids(13)
    past, parts = model.cache_for(13), []
    with torch.no_grad():
        for piece in text.split([4, 1, 6, 2], dim=1):
            parts.append(model(piece, past=past))
        torch.testing.assert_close(torch.cat(parts, 1), model(text))
    assert past.length == 13


def test_only_looks_grow():
    sizes = {}
    for looks in ((), (1,), (0, 2)):
        model = built(looks)
        past, held = model.cache_for(0), []
        with torch.no_grad():
            for piece in ids(12).split(4, dim=1):
                model(piece, past=past)
                held.append(past.nbytes)
        states = 2 * 12 * (3 + CONFIG.conv_kernel - 1) * 8  # of two texts
        least = (3 - len(looks)) * states
        assert held[0] >= least and (looks or held[0] == least)
        sizes[looks] = [b - a for a, b in zip(held, held[1:], strict=False)]
    wide = model.backbone.layers[0].mixer.attention.k_proj.out_features
    grown = 2 * 2 * 4 * wide * 8  # k and v, two texts, 4 tokens, float64
    assert sizes == {(): [0, 0], (1,): [grown] * 2, (0, 2): [2 * grown] * 2}


def test_a_look_weighs_about_as_much_as_what_it_replaces():
    def size(module):
        return sum(p.numel() for p in module.parameters())

    shape = MambaConfig(65, 64, num_hidden_layers=1)
    mixer = QuickMamba(shape).backbone.layers[0].mixer
    assert 0.7 < size(Look(shape, 0, heads=4)) / size(mixer) < 1.1


def test_it_writes_on_from_a_past_as_without_one():
    model = built().float()
    text = ids(5, batch=1)
    written = generate(model, text, 6, temperature=0)
    again = text
    for _ in range(6):
        with torch.no_grad():
            new = model(again)[:, -1].argmax(-1, keepdim=True)
        again = torch.cat([again, new], 1)
    assert torch.equal(written, again)


def test_tokens_do_not_see_those_behind_them():
    model, text = built((0, 1)), ids(9)
    other = text.clone()
    other[:, 6:] = (other[:, 6:] + 1) % 11
    changed = (model(text) - model(other)).abs().amax((0, 2)) > 0
    assert changed.tolist() == [False] * 6 + [True] * 3


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ((3,), "looks: got 3, expected numbers of layers, 0 to 2"),
        ((0, -1), "looks: got -1"),
        ((1, 1), r"looks: got \(1, 1\), expected each layer once"),
    ],
)
def test_looks_that_cannot_be_are_refused(looks, said):
    with pytest.raises(ValueError, match=said):
        Hybrid(CONFIG, looks)


def test_heads_below_one_are_refused():
    with pytest.raises(ValueError, match="heads: got 0"):
        Hybrid(CONFIG, (1,), heads=0)


def test_states_and_looks_train():
    model = built().float().train()
    model(ids(9)).square().sum().backward()
    silent = [n for n, p in model.named_parameters() if not p.grad.any()]
    assert silent == []
    assert isinstance(model.backbone.layers[1].mixer, nn.Module)
