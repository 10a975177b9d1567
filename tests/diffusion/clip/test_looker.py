"""The small CLIP of captioned shapes."""

import pytest
import torch

from llmnotes.diffusion.clip.looker import DrownedCLIP, Looker, ShapesCLIP
from llmnotes.diffusion.clip.task import LAPTOP


def some_images(count=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 16, 16, generator=draw)


def test_a_vector_depends_on_every_pixel_and_on_no_other_image():
    torch.manual_seed(0)
    tower = Looker(LAPTOP.vision_config)
    images = some_images().requires_grad_()
    found = tower(images)
    assert found.shape == (3, tower.width)
    found[1].square().sum().backward()
    moved = images.grad.abs().sum(1)
    assert (moved[1] > 0).all() and not moved[[0, 2]].any()


def test_every_weight_learns():
    torch.manual_seed(0)
    tower = Looker(LAPTOP.vision_config)
    tower(some_images()).square().mul(torch.rand(128)).sum().backward()
    for name, p in tower.named_parameters():
        assert p.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("kind", "std"), ((ShapesCLIP, 0.2), (DrownedCLIP, 1.0))
)
def test_words_begin_at_their_size_and_places_at_theirs(kind, std):
    torch.manual_seed(0)
    model = kind(LAPTOP)
    words = model.text_model.embeddings.token_embedding.weight
    places = model.text_model.embeddings.position_embedding.weight
    assert abs(words.std().item() / std - 1) < 0.1
    assert abs(places.std().item() / 0.02 - 1) < 0.1


def test_muon_moves_every_matrix_but_the_embeddings():
    model = ShapesCLIP(LAPTOP)
    moved = {id(p) for p in model.h.parameters() if p.ndim == 2}
    left = [n for n, p in model.named_parameters()
            if p.ndim == 2 and id(p) not in moved]  # fmt: skip
    assert len(left) == 2 and all("embedding" in name for name in left)
