"""What is learned from: pairs as CLIP sees them, and noisy pictures."""

import pytest
import torch

from llmnotes import scenes
from llmnotes.diffusion.dalle2 import scaled
from llmnotes.diffusion.dalle2.task import (
    Decoding,
    Guessing,
    known,
    of_captions,
    of_pictures,
)
from llmnotes.diffusion.glide.task import pixels, shown
from llmnotes.scenes import VOCABULARY
from tests.diffusion.dalle2 import small

CLIP = small.clip()
ONE = scenes.scenes(1)


def decoding(**options):
    return Decoding(CLIP, **dict(steps=50, among=ONE, size=24) | options)


def guessing(**options):
    learned, judged = known(CLIP, 30), known(CLIP, 9, split="test")
    return Guessing(learned, judged, **dict(size=12) | options)


def test_pairs_are_what_clip_makes_of_pictures_and_captions():
    found = known(CLIP, 5, among=ONE, seed=3)
    drawn = scenes.batch(3, 0, 5, ONE)
    ids = VOCABULARY.encode(drawn.captions)
    texts = scaled(CLIP.embed_texts(ids))
    images = scaled(CLIP.embed_images(pixels(drawn.images)))
    torch.testing.assert_close(found.texts, texts.detach())
    torch.testing.assert_close(found.images, images.detach())
    assert found.scenes == drawn.scenes and len(found) == 5
    assert not found.texts.requires_grad and CLIP.training


def test_many_pairs_come_in_pieces_that_all_differ():
    found = known(CLIP, 600, among=ONE)
    assert len(found) == len(found.images) == len(found.texts) == 600
    assert len(found.images.unique(dim=0)) > 590
    assert not any(scene.held_out for scene in found.scenes)


def test_batches_are_functions_of_seed_and_step():
    for made in (guessing, decoding):
        one, two = made(), made()
        for a, b in zip(one.batch(7), two.batch(7), strict=True):
            if isinstance(a, torch.Tensor):
                assert torch.equal(a, b)
            else:
                assert torch.equal(a.get_state(), b.get_state())
        for other in (one.batch(8), made(seed=1).batch(7)):
            assert not torch.equal(one.batch(7)[0], other[0])


def test_captions_stay_with_their_pictures():
    task = guessing()
    texts, images, _ = task.batch(0)
    for text, image in zip(texts, images, strict=True):
        row = (task.learned.texts == text).all(1)
        assert (task.learned.images[row] == image).all(1).any()


@pytest.mark.parametrize("name", ["regression", "autoregressive", "diffusion"])
def test_a_loss_changes_with_the_step_but_its_judgement_does_not(name):
    task, prior = guessing(), small.PRIORS[name]()
    losses = [task.loss(prior, task.batch(step)) for step in (0, 0, 1)]
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])
    assert task.evaluate(prior) == task.evaluate(prior)


def test_a_decoder_is_told_what_clip_sees_in_the_clean_picture():
    x0, images, _, _ = decoding(drop=0.0).batch(0)
    expected = of_pictures(CLIP, shown(x0))
    torch.testing.assert_close(images[:, 0], expected, atol=1e-4, rtol=1e-4)
    assert -1 <= x0.min() and x0.max() <= 1


def test_as_many_embeddings_are_hidden_as_was_said():
    task = decoding(drop=0.3, size=64)
    images = torch.cat([task.batch(step)[1] for step in range(6)])
    hidden = (images == 0).all(2)
    assert abs(hidden.float().mean() - 0.3) < 0.07


def test_learning_a_decoder_leaves_clip_as_it_is():
    task, decoder = decoding(size=4), small.painter()
    task.loss(decoder, task.batch(0)).backward()
    assert all(p.grad is None for p in CLIP.parameters())
    assert all(p.grad is not None for p in decoder.parameters())


def test_the_judged_are_never_learned_from():
    task = decoding()
    assert torch.equal(task.judged[0], decoding(seed=5).judged[0])
    assert not any(torch.equal(task.judged[0][0], x) for x in task.batch(0)[0])


def test_captions_are_read_as_they_are():
    said = ["a small red circle", "there is a large blue square"]
    found = of_captions(CLIP, said)
    expected = scaled(CLIP.embed_texts(VOCABULARY.encode(said)))
    torch.testing.assert_close(found, expected.detach())


REFUSED = {
    "drop": (
        lambda: decoding(drop=2.0),
        "drop: got 2.0, expected a share from 0 to 1",
    ),
    "an unknown word": (
        lambda: of_captions(CLIP, ["a small red cirle"]),
        "caption: got the unknown word 'cirle' at position 3",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)
