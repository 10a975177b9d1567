"""What the losses of image-text pairs say, and how low they can go."""

import math

import pytest
import torch
import transformers as hf
from torch import nn

from llmnotes.diffusion.clip import (
    clamp_scale,
    contrastive_loss,
    floor,
    log_scale,
    multi_positive_loss,
    sigmoid_loss,
)
from llmnotes.diffusion.clip.losses import MOST, diagonal

CAPTIONS = torch.tensor([0, 1, 0, 2, 0, 3, 1])  # seven images, four texts
SAME = CAPTIONS[:, None] == CAPTIONS


def noise(*shape, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=draw, dtype=torch.float64)


def aligned(size, scale):
    """Logits of pairs that are alike and orthogonal to all others."""
    return scale * torch.eye(size, dtype=torch.float64)


def gradient(loss, x):
    x = x.clone().requires_grad_()
    loss(x).backward()
    return x.grad


def test_two_pairs_by_hand():
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    rows = math.log(1 + math.exp(-1)), math.log(1 + math.exp(-1))
    columns = math.log(1 + math.exp(-2)), math.log(1 + math.exp(0))
    expected = (sum(rows) + sum(columns)) / 4
    assert contrastive_loss(logits).item() == pytest.approx(expected)
    pairs = -2.0, 1.0, 0.0, -1.0  # of a pair that belongs together: minus
    expected = sum(math.log(1 + math.exp(z)) for z in pairs) / 2
    found = sigmoid_loss(logits, diagonal(2))
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("size", (1, 5, 64))
def test_who_knows_nothing_loses_ln_n_and_a_batch_of_one_nothing(size):
    logits = torch.zeros(size, size)
    loss = contrastive_loss(logits).item()
    assert loss == pytest.approx(math.log(size), abs=1e-6)
    if size == 1:
        assert not gradient(contrastive_loss, noise(1, 1)).any()


def test_pieces_of_a_batch_know_fewer_negatives():
    """Accumulating gradients makes no larger batch, unlike elsewhere."""
    logits = noise(8, 8)
    halves = logits[:4, :4], logits[4:, 4:]
    mean = sum(contrastive_loss(half) for half in halves) / 2
    assert mean < contrastive_loss(logits) - 0.3


def test_a_scale_below_one_hides_even_what_is_perfect():
    """E10: ln(1/0.07) = 2.66 taken for a temperature and divided by."""
    wrong, right = 1 / 2.65, 1 / 0.07
    loss = contrastive_loss(aligned(64, wrong)).item()
    assert loss == pytest.approx(math.log(1 + 63 * math.exp(-wrong)))
    assert loss == pytest.approx(3.789, abs=5e-4)
    assert contrastive_loss(aligned(64, right)).item() < 5e-5
    among_127 = math.log(1 + 126 * math.exp(-wrong))  # SimCLR's candidates
    assert among_127 == pytest.approx(4.470, abs=5e-4)


def test_images_and_captions_count_alike():
    logits = noise(7, 7)
    assert torch.equal(contrastive_loss(logits), contrastive_loss(logits.T))
    several = multi_positive_loss(logits, SAME)
    turned = multi_positive_loss(logits.T, SAME.T)
    torch.testing.assert_close(several, turned)


def test_with_one_caption_each_both_losses_are_one():
    logits = noise(6, 6)
    found = multi_positive_loss(logits, diagonal(6))
    torch.testing.assert_close(found, contrastive_loss(logits))


def test_identical_captions_only_raise_the_floor():
    """E12: the one-hot loss has the same gradient as the honest one."""
    images, texts = noise(7, 5), noise(4, 5, seed=1)

    def through(loss):
        table = texts.clone().requires_grad_()
        seen = images.clone().requires_grad_()
        value = loss(seen @ table[CAPTIONS].T)
        value.backward()
        return value, table.grad, seen.grad

    one_hot = through(contrastive_loss)
    honest = through(lambda x: multi_positive_loss(x, SAME))
    for a, b in zip(one_hot, honest, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


def test_paraphrases_pull_apart_what_belongs_together():
    """Each has a vector of its own, so that the loss can tell them apart."""
    logits = noise(7, 7)
    a = gradient(contrastive_loss, logits)
    b = gradient(lambda x: multi_positive_loss(x, SAME), logits)
    alike = SAME & ~diagonal(7)
    assert (a[alike] > 0).all() and (a - b).abs().max() > 0.05


def test_the_floor_is_reached_by_those_who_see_the_meaning_alone():
    meaning = torch.eye(4, dtype=torch.float64)[CAPTIONS]
    for loss in (contrastive_loss, lambda x: multi_positive_loss(x, SAME)):
        found = loss(1000 * meaning @ meaning.T)
        torch.testing.assert_close(found, floor(SAME))
    expected = (3 * math.log(3) + 2 * math.log(2)) / 7
    assert floor(SAME).item() == pytest.approx(expected)
    assert floor(diagonal(5)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_nothing_lies_below_the_floor(seed):
    """Any logits, if alike captions get alike ones."""
    logits = 9 * noise(7, 4, seed=seed)[:, CAPTIONS]
    for loss in (contrastive_loss, lambda x: multi_positive_loss(x, SAME)):
        assert loss(logits) >= floor(SAME)
    logits = 9 * noise(7, 7, seed=seed)  # this one also for any logits
    assert multi_positive_loss(logits, SAME) >= floor(SAME)


def test_the_floor_counts_rows_and_columns_apart():
    same = torch.tensor([[1, 1, 0], [0, 0, 1]]).bool()
    assert floor(same).item() == pytest.approx(math.log(2) / 2 / 2)


def test_the_sigmoid_loss_is_that_of_siglip():
    tower = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                 num_attention_heads=2)  # fmt: skip
    config = hf.SiglipConfig(
        text_config=tower | dict(vocab_size=9, max_position_embeddings=5),
        vision_config=tower | dict(image_size=4, patch_size=2),
    )
    torch.manual_seed(0)
    model = hf.SiglipModel(config).double().eval()
    images, ids = noise(3, 3, 4, 4), torch.randint(9, (3, 5))
    found = model(input_ids=ids, pixel_values=images, return_loss=True)
    logits = found.logits_per_text.T
    torch.testing.assert_close(sigmoid_loss(logits, diagonal(3)), found.loss)


def test_the_sigmoid_loss_asks_each_pair_by_itself():
    logits = noise(7, 5)
    same = SAME[:, :5]
    given = gradient(lambda x: sigmoid_loss(x, same), logits)
    other = logits.clone()
    other[2, 3] += 1
    changed = gradient(lambda x: sigmoid_loss(x, same), other) != given
    assert changed.sum() == 1 and changed[2, 3]
    assert ((given < 0) == same).all()


def test_a_temperature_becomes_a_logarithm():
    assert log_scale(0.07) == pytest.approx(2.65926, abs=1e-5)
    assert log_scale(0.01) == pytest.approx(MOST) == pytest.approx(4.60517)


def test_a_scale_that_is_clamped_between_steps_can_come_back():
    """One that is clamped inside of the loss has no gradient any more."""
    cosines = noise(5, 5).tanh()
    outside, inside = (nn.Parameter(torch.tensor(5.0)) for _ in range(2))
    contrastive_loss(inside.clamp(max=MOST).exp() * cosines).backward()
    assert inside.grad == 0
    clamp_scale(outside)
    assert outside.item() == pytest.approx(MOST) and outside.requires_grad
    contrastive_loss(outside.exp() * cosines).backward()
    assert outside.grad > 0
    low = nn.Parameter(torch.tensor(1.0))
    clamp_scale(low)
    assert low.item() == 1


def test_half_precision_is_summed_in_float32():
    logits = (3 * noise(64, 64)).bfloat16()
    same = diagonal(64)
    for loss in (contrastive_loss, lambda x: sigmoid_loss(x, same)):
        assert loss(logits).dtype == torch.float32
        torch.testing.assert_close(loss(logits), loss(logits.float()))


REFUSALS = {
    "logits: got 3 images and 4 texts, expected as many of each": (
        lambda: contrastive_loss(noise(3, 4))
    ),
    r"logits: got shape \(3,\), expected \(images, texts\)": (
        lambda: contrastive_loss(noise(3))
    ),
    "logits: got torch.int64, expected a float dtype": (
        lambda: contrastive_loss(torch.ones(2, 2, dtype=torch.int64))
    ),
    "same: got texts 4, expected logits' 3": (
        lambda: sigmoid_loss(noise(3, 3), SAME[:3, :4])
    ),
    "same: got torch.float64, expected bool": (
        lambda: multi_positive_loss(noise(3, 3), noise(3, 3))
    ),
    "same: got image 1 to which nothing belongs, expected at least one": (
        lambda: multi_positive_loss(
            noise(2, 2), torch.tensor([[True, True], [False, False]])
        )
    ),
    "same: got text 0 to which nothing belongs, expected at least one": (
        lambda: floor(torch.tensor([[False, True], [False, True]]))
    ),
    "temperature: got 0, expected more than 0": lambda: log_scale(0),
    "temperature: got -0.07, expected more than 0": lambda: log_scale(-0.07),
    "temperature: got nan, expected more than 0": (
        lambda: log_scale(math.nan)
    ),
}


@pytest.mark.parametrize(("message", "call"), REFUSALS.items())
def test_what_cannot_be_is_refused_by_name(message, call):
    with pytest.raises(ValueError, match=message):
        call()
