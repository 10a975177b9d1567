"""The step in NumPy: against autograd, Hugging Face and differences."""

import numpy as np
import pytest
import torch
import transformers as hf

from llmnotes.transformer.gpt import GPT, GPTConfig
from llmnotes.transformer.gpt2_by_hand import (
    GPT2,
    read_folder,
    reference,
)
from tests.transformer.gpt2_by_hand import same, tiny
from tests.transformer.gpt2_by_hand.tiny import TINY

SHAPES = {
    "tiny": TINY,
    "one layer, one head": GPTConfig(6, 5, n_embd=4, n_layer=1, n_head=1),
    "three layers": GPTConfig(23, 9, n_embd=10, n_layer=3, n_head=5),
}


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_every_tensor_and_every_gradient_is_autograds(config):
    rows = config.vocab_size + 2
    ours = tiny.by_hand(tiny.scattered(config), rows=rows)
    ours.forward(*tiny.ids(config))
    ours.backward()
    found = same.step_errors(ours)
    assert len(found) == 1 + 23 + 23 + 16
    assert max(found.values()) < 1e-10, found


def test_the_model_of_the_gpt_chapter_has_the_same_loss_and_gradients():
    model = tiny.scattered()
    inputs, targets = (torch.from_numpy(x).long() for x in tiny.ids())
    loss = torch.nn.functional.cross_entropy(
        model(inputs).flatten(0, 1), targets.flatten()
    )
    loss.backward()
    ours = tiny.stepped()
    assert ours.loss == pytest.approx(loss.item(), abs=1e-12)
    found = same.errors(ours.grads, same.gradients(model))
    assert max(found.values()) < 1e-12, found


@pytest.fixture(scope="module")
def theirs():
    """Hugging Face's GPT-2; its dropout stands in the file as usual."""
    shape = dict(vocab_size=11, n_positions=7, n_embd=12, n_layer=2, n_head=3)
    torch.manual_seed(5)
    model = hf.GPT2LMHeadModel(
        hf.GPT2Config(**shape, bos_token_id=0, eos_token_id=0)
    )
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return model.eval()


def test_hugging_faces_gpt2_has_the_same_loss_and_gradients(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    config, weights = read_folder(tmp_path, rows=16)
    inputs, targets = tiny.ids()
    logits = theirs(torch.from_numpy(inputs).long()).logits
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), torch.from_numpy(targets).long().flatten()
    )
    loss.backward()
    ours = GPT2(config, weights, reference)
    ours.forward(inputs, targets)
    ours.backward()
    assert ours.loss == pytest.approx(loss.item(), rel=1e-5)
    assert np.allclose(
        ours.acts["logits"][..., :11], logits.detach(), rtol=1e-4, atol=1e-5
    )
    twin = GPT(config)
    own = dict(theirs.named_parameters())
    for name, p in twin.named_parameters():
        p.grad = own[name].grad
    for name, grad in same.gradients(twin).items():
        found = ours.grads[name][: len(grad)]
        assert np.allclose(found, grad, rtol=1e-3, atol=1e-6), name


def test_gradients_are_slopes_of_the_loss():
    """Central differences, three numbers of each of the 16 tensors."""
    ours = tiny.stepped()
    draw, step, given = np.random.default_rng(2), 1e-5, tiny.ids()
    for name, weight in ours.weights.items():
        flat, slope = weight.reshape(-1), ours.grads[name].reshape(-1)
        for i in draw.integers(0, flat.size, 3):
            kept, losses = flat[i], []
            for side in (step, -step):
                flat[i] = kept + side
                ours.forward(*given)
                losses.append(ours.loss)
            flat[i] = kept
            measured = (losses[0] - losses[1]) / (2 * step)
            assert measured == pytest.approx(slope[i], abs=1e-8), name


def test_no_token_looks_ahead():
    ours = tiny.by_hand()
    tokens, targets = tiny.ids()
    ours.forward(tokens, targets)
    before = ours.acts["logits"].copy()
    tokens[:, 3] = (tokens[:, 3] + 1) % 11
    ours.forward(tokens, targets)
    after = ours.acts["logits"]
    assert np.array_equal(before[:, :3], after[:, :3])
    assert not np.allclose(before[:, 3:], after[:, 3:])
    for name in ("preatt", "att"):
        assert not np.triu(ours.acts[name], 1).any()
        assert not np.triu(tiny.stepped().dacts[name], 1).any()
