"""Two towers: what they read, what they see, what they refuse."""

import math
from dataclasses import replace

import pytest
import torch
import transformers as hf

from llmnotes.diffusion.clip import (
    CLIP,
    VIT_B_16,
    VIT_B_32,
    VIT_L_14,
    VIT_L_14_336,
    CLIPConfig,
    SigmoidCLIP,
    TextConfig,
    VisionConfig,
    end_of_text,
    quick_gelu,
)
from tests.diffusion.clip.tiny import (
    END,
    SPACE,
    TEXT,
    VISION,
    ours,
    some_ids,
    some_images,
)


def images(count=5, seed=2):
    return some_images(count, seed=seed, dtype=torch.float32)


SIZES = {
    "ViT-B/32": (VIT_B_32, 151_277_313),
    "ViT-B/16": (VIT_B_16, 149_620_737),
    "ViT-L/14": (VIT_L_14, 427_616_513),
    "ViT-L/14, 336 px": (VIT_L_14_336, 427_944_193),
}


@pytest.mark.parametrize(("config", "expected"), SIZES.values(), ids=SIZES)
def test_published_models_have_their_number_of_parameters(config, expected):
    with torch.device("meta"):
        model = CLIP(config)
    assert sum(p.numel() for p in model.parameters()) == expected


def test_the_default_is_transformers_default():
    with torch.device("meta"):
        theirs = hf.CLIPModel(hf.CLIPConfig()).state_dict()
        our = CLIP(CLIPConfig()).state_dict()
    assert {k: v.shape for k, v in our.items()} == {
        k: v.shape for k, v in theirs.items()
    }


def test_quick_gelu_is_near_gelu_and_not_it():
    x = torch.linspace(-6, 6, 12001, dtype=torch.float64)
    apart = (quick_gelu(x) - torch.nn.functional.gelu(x)).abs()
    assert apart.max().item() == pytest.approx(0.0203, abs=5e-5)
    assert abs(x[apart.argmax()].item()) == pytest.approx(2.27, abs=0.01)
    one = torch.tensor([1.0], dtype=torch.float64)
    assert quick_gelu(one).item() == pytest.approx(1 / (1 + math.exp(-1.702)))


def test_a_patch_is_a_row_of_numbers_times_a_matrix():
    """Patches are counted row by row; the class token stands in front."""
    embed = ours().vision_model.embeddings
    pictures, side = images(2), VISION["patch_size"]
    found = embed(pictures)
    matrix = embed.patch_embedding.weight.flatten(1)
    for place in range(9):
        down, right = side * (place // 3), side * (place % 3)
        patch = pictures[:, :, down : down + side, right : right + side]
        expected = patch.flatten(1) @ matrix.T
        expected = expected + embed.position_embedding.weight[place + 1]
        torch.testing.assert_close(found[:, place + 1], expected)
    first = embed.class_embedding + embed.position_embedding.weight[0]
    torch.testing.assert_close(found[:, 0], first.expand(2, -1))


def test_what_stands_behind_the_end_changes_nothing():
    model, ids = ours(), some_ids()
    other, short = ids.clone(), ids[:, :-1]
    other[ids == 1] = 7
    expected = model.embed_texts(ids)
    assert torch.equal(model.embed_texts(other), expected)
    ends = short.eq(END).any(1)
    torch.testing.assert_close(model.embed_texts(short[ends]), expected[ends])


def test_order_counts_because_of_places_and_of_what_came_before():
    """Even without places a causal text is no bag: who is first sees less."""
    model, ids = ours(), some_ids(1)
    turned = ids.clone()
    turned[0, :2] = ids[0, [1, 0]]
    apart = (model.embed_texts(ids) - model.embed_texts(turned)).abs().max()
    assert apart > 1e-2
    model.text_model.embeddings.position_embedding.weight.data.zero_()
    apart = (model.embed_texts(ids) - model.embed_texts(turned)).abs().max()
    assert 1e-4 < apart


def test_vectors_are_of_length_one_and_the_scale_bounds_all_logits():
    model = ours()
    for vectors in (
        model.embed_images(images()),
        model.embed_texts(some_ids()),
    ):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5))
    logits = model(images(3), some_ids())
    assert logits.shape == (3, 5)
    assert logits.abs().max() <= model.logit_scale.exp() * (1 + 1e-6)


def test_a_pair_is_judged_alike_whoever_stands_beside_it():
    model = ours()
    pictures, ids = images(), some_ids()
    alone = model(pictures[2:3], ids[4:])
    torch.testing.assert_close(model(pictures, ids)[2:3, 4:], alone)


def test_the_sigmoids_clip_adds_one_number():
    config = CLIPConfig(TextConfig(**TEXT), VisionConfig(**VISION), SPACE)
    torch.manual_seed(0)
    model = SigmoidCLIP(config)
    plain = CLIP(config)
    plain.load_state_dict(model.state_dict(), strict=False)
    found = model(images(), some_ids())
    torch.testing.assert_close(found, plain(images(), some_ids()) - 10)
    names = model.state_dict().keys() - plain.state_dict().keys()
    assert names == {"logit_bias"}


def test_weights_are_drawn_as_large_as_openais():
    width = dict(hidden_size=256, intermediate_size=1024, num_hidden_layers=2)
    config = CLIPConfig(
        TextConfig(**width, vocab_size=900, eos_token_id=3),
        VisionConfig(**width, num_attention_heads=8, image_size=128),
    )
    torch.manual_seed(0)
    model = CLIP(config)
    for tower in (model.text_model, model.vision_model):
        layer = tower.encoder.layers[1]
        sizes = {
            layer.self_attn.q_proj: 1 / 16,
            layer.self_attn.k_proj: 1 / 16,
            layer.self_attn.v_proj: 1 / 16,
            layer.self_attn.out_proj: 1 / 32,
            layer.mlp.fc1: 1 / math.sqrt(512),
            layer.mlp.fc2: 1 / 32,
        }
        for linear, size in sizes.items():
            assert linear.weight.std().item() == pytest.approx(size, rel=0.02)
            assert not linear.bias.any()
    text, vision = model.text_model.embeddings, model.vision_model.embeddings
    sizes = {
        text.token_embedding: 0.02,
        text.position_embedding: 0.01,
        vision.position_embedding: 1 / 16,
        model.text_projection: 1 / 16,
    }
    for part, size in sizes.items():
        assert part.weight.std().item() == pytest.approx(size, rel=0.03)
    assert model.logit_scale.exp().item() == pytest.approx(1 / 0.07, rel=1e-4)


def test_the_first_end_counts():
    ids = torch.tensor([[3, END, 1, END], [END, 3, 3, 3]])
    assert end_of_text(ids, END).tolist() == [1, 0]
    assert end_of_text(torch.tensor([[3, 9, 9, 4]]), 2).tolist() == [1]


def without_an_end():
    ids = some_ids()
    ids[3] = 7
    return ids


REFUSALS = {
    "ids: got caption 3 without eos_token_id = 21, expected one in each": (
        lambda m: m.embed_texts(without_an_end())
    ),
    "ids: got 7 to 23, expected 0 to 22": (
        lambda m: m.embed_texts(torch.tensor([[7, 23, END]]))
    ),
    "ids: got length 10, expected at most max_position_embeddings = 9": (
        lambda m: m.embed_texts(torch.full((1, 10), END))
    ),
    "ids: got torch.float32, expected an integer dtype": (
        lambda m: m.embed_texts(torch.ones(1, 3))
    ),
    r"ids: got shape \(3,\), expected \(batch, length\)": (
        lambda m: m.embed_texts(torch.ones(3, dtype=torch.int64))
    ),
    r"images: got \(3, 8, 12\), expected channels, rows and columns of \(3":
        lambda m: m.embed_images(torch.ones(2, 3, 8, 12)),
    r"images: got \(1, 12, 12\), expected channels, rows and columns of \(3":
        lambda m: m.embed_images(torch.ones(2, 1, 12, 12)),
    "images: got torch.uint8, expected a float dtype": (
        lambda m: m.embed_images(torch.ones(2, 3, 12, 12, dtype=torch.uint8))
    ),
    "patch_size: got 5, expected a divisor of image_size = 12": (
        lambda m: replace(m.config.vision_config, patch_size=5)
    ),
    "projection_dim: got 0, expected at least 1": (
        lambda m: replace(m.config, projection_dim=0)
    ),
}  # fmt: skip


@pytest.mark.parametrize(("message", "call"), REFUSALS.items())
def test_what_cannot_be_is_refused_by_name(message, call):
    with pytest.raises(ValueError, match=message):
        call(ours())
