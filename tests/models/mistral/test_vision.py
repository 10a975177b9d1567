"""What the chapter claims of images in a text, proved."""

import pytest
import torch
import transformers as hf
from torch import nn

from llmnotes.models.llama import LlamaConfig
from llmnotes.models.mistral import Mistral, MistralConfig
from llmnotes.models.mistral.vision import (
    IMG,
    IMG_BREAK,
    IMG_END,
    PIXTRAL_VISION,
    Pixtral,
    Vision,
    image_ids,
    plane_angles,
)
from llmnotes.transformer.gpt import parameters
from llmnotes.transformer.rope import rotate
from tests.models.llama.tiny import scatter
from tests.models.mistral.tiny import SHAPE

TINY = dict(hidden_size=24, intermediate_size=20, num_hidden_layers=2,
            num_attention_heads=3)  # fmt: skip
THEIRS = {
    "self_attn": "attention",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp": "feed_forward",
}


def theirs_of(name):
    """Hugging Face's name of a weight of ours."""
    for ours, there in THEIRS.items():
        name = name.replace(ours, there)
    return f"transformer.{name}" if name.startswith("layers") else name


def pair():
    """Ours and theirs with the same weights."""
    ours = scatter(Vision(LlamaConfig(1, **TINY, rms_norm_eps=1e-5)))
    config = hf.PixtralVisionConfig(**TINY, hidden_act="silu", image_size=96)
    other = hf.PixtralVisionModel(config).eval()
    weights = ours.state_dict()
    other.load_state_dict({theirs_of(k): v for k, v in weights.items()})
    return ours, other


def images(*sides):
    torch.manual_seed(3)
    return [torch.randn(3, *side) for side in sides]


def test_states_and_gradients_are_hugging_face_s():
    ours, other = pair()
    pictures = images((48, 32), (16, 80))
    wide = torch.zeros(2, 3, 48, 80)  # theirs are padded and cut again
    for room, picture in zip(wide, pictures, strict=True):
        room[:, : picture.shape[1], : picture.shape[2]] = picture
    got = torch.cat(ours(pictures))
    sizes = torch.tensor([p.shape[1:] for p in pictures])
    right = other(wide, image_sizes=sizes).last_hidden_state[0]
    torch.testing.assert_close(got, right, rtol=1e-4, atol=1e-5)
    for model, out in ((ours, got), (other, right)):
        model.zero_grad()
        out.square().sum().backward()
    found = dict(other.named_parameters())
    for name, p in ours.named_parameters():
        there = found[theirs_of(name)].grad
        torch.testing.assert_close(p.grad, there, rtol=1e-3, atol=1e-4)


def test_pixtral_s_encoder_has_403_million_parameters():
    with torch.device("meta"):
        assert parameters(Vision(PIXTRAL_VISION)) == 403_489_792


def test_an_image_beside_others_has_the_states_it_has_alone():
    vision = scatter(Vision(LlamaConfig(1, **TINY)))
    pictures = images((32, 48), (16, 16), (64, 16))
    together = vision(pictures)
    for picture, got in zip(pictures, together, strict=True):
        torch.testing.assert_close(got, vision([picture])[0])


def test_scores_depend_on_how_far_apart_patches_are_across_and_down():
    torch.manual_seed(0)
    theta = LlamaConfig(1, **TINY).frequencies()
    turn = plane_angles(5, 6, theta.double()).double()
    query, key = torch.randn(2, 1, 8).double()
    q, k = (rotate(x.expand(30, 8), turn) for x in (query, key))
    score = (q @ k.T).view(5, 6, 5, 6)
    far = score[0, 1, 2, 4]  # 2 down, 3 across
    for row, column in ((1, 0), (2, 2), (2, 1)):
        torch.testing.assert_close(
            score[row, column, row + 2, column + 3], far, rtol=1e-5, atol=1e-6
        )
    assert not torch.allclose(score[0, 1, 3, 3], far)  # 3 down, 2 across


def test_an_image_in_the_text_worked_by_hand():
    assert image_ids(32, 48) == [
        IMG, IMG, IMG, IMG_BREAK,
        IMG, IMG, IMG, IMG_END,
    ]  # fmt: skip
    # 1024 x 1024 pixels: 64 rows of 64 patches and a mark each
    assert len(image_ids(1024, 1024)) == 64 * 65 == 4160


def pixtral():
    language = Mistral(MistralConfig(**SHAPE, sliding_window=None))
    vision = Vision(LlamaConfig(1, **TINY | dict(hidden_size=12)))
    return scatter(Pixtral(vision, language))


def test_patches_stand_where_the_text_says_and_text_is_as_before():
    model, (picture,) = pixtral(), images((32, 32))
    ids = torch.tensor([1, 5, *image_ids(32, 32), 7, 8])
    logits = model(ids, [picture])
    plain = model.language(ids[None])[0]
    torch.testing.assert_close(logits[:2], plain[:2])
    assert not torch.allclose(logits[-1], plain[-1])
    changed = picture.clone()
    changed[:, 16:, 16:] += 1  # the last patch, and so all of the image
    after = model(ids, [changed])
    torch.testing.assert_close(after[:2], logits[:2])
    assert ((after - logits).abs().amax(-1)[2:] > 0).all()


def test_gradients_reach_the_pixels_and_every_weight():
    model, (picture,) = pixtral(), images((16, 32))
    picture.requires_grad_()
    ids = torch.tensor([1, *image_ids(16, 32), 4])
    model(ids, [picture])[-1].square().sum().backward()
    assert (picture.grad.abs().amax(0) > 0).all()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, name


def test_what_does_not_fit_is_refused_by_name():
    model = pixtral()
    with pytest.raises(ValueError) as error:
        model(torch.tensor([1, *image_ids(16, 32)]), images((16, 48)))
    assert str(error.value) == (
        "ids: got 2 times IMG, expected 3, one for each patch"
    )
    with pytest.raises(ValueError, match="PATCH: got 16, expected a divisor"):
        model.vision(images((16, 40)))
    with pytest.raises(ValueError, match=r"images: got shape \(16, 16\), ex"):
        model.vision([torch.zeros(16, 16)])
    assert isinstance(model.adapter[1], nn.GELU)
