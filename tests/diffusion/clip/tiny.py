"""Tiny CLIPs of random numbers, theirs and ours."""

from dataclasses import replace

import torch
import transformers as hf

from llmnotes import presets
from llmnotes.diffusion.clip import CLIP, CLIPConfig, TextConfig, VisionConfig

VOCAB, LONGEST, END = 23, 9, 21
TEXT = dict(
    vocab_size=VOCAB,
    hidden_size=12,
    intermediate_size=20,
    num_hidden_layers=3,
    num_attention_heads=3,
    max_position_embeddings=LONGEST,
    eos_token_id=END,
)
VISION = dict(
    hidden_size=10,
    intermediate_size=14,
    num_hidden_layers=2,
    num_attention_heads=5,
    image_size=12,
    patch_size=4,
    num_channels=3,
)
SPACE = 7
FAMILY = {
    "plain": ({}, {}),
    "exact GELU": ({"hidden_act": "gelu"}, {"hidden_act": "gelu"}),
    "largest id": ({"eos_token_id": 2}, {}),
    "one layer, one head": (
        dict(num_hidden_layers=1, num_attention_heads=1),
        dict(num_hidden_layers=1, num_attention_heads=1, patch_size=12),
    ),
    "grey, other eps": (
        {"layer_norm_eps": 1e-3},
        dict(num_channels=1, patch_size=6, layer_norm_eps=1e-6),
    ),
}


def scatter(model, seed=0):
    """Random numbers everywhere: fresh gains are 1 and hide mistakes."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            noise = torch.randn(p.shape, generator=draw, dtype=p.dtype)
            p.add_(0.2 * noise)
    return model.eval()


def theirs(text, vision):
    """Hugging Face's model of this shape, in double precision.

    Its own attention, "eager", takes the softmax in float32 always.
    """
    config = hf.CLIPConfig(
        text_config=TEXT | dict(bos_token_id=20, pad_token_id=1) | text,
        vision_config=VISION | vision,
        projection_dim=SPACE,
        attn_implementation="sdpa",
    )
    torch.manual_seed(0)
    return scatter(hf.CLIPModel(config).double())


def ours(seed=0):
    """Our model of the plain shape."""
    config = CLIPConfig(TextConfig(**TEXT), VisionConfig(**VISION), SPACE)
    torch.manual_seed(seed)
    return scatter(CLIP(config), seed)


def some_ids(texts=5, length=8, seed=1):
    """Captions of several lengths; behind their end stands padding."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 20, (texts, length), generator=draw)
    for row, end in enumerate(range(length - texts, length)):
        ids[row, end], ids[row, end + 1 :] = END, 1
    return ids


def some_images(images=5, channels=3, side=12, seed=2, dtype=torch.float64):
    """Noise."""
    draw = torch.Generator().manual_seed(seed)
    shape = images, channels, side, side
    return torch.randn(shape, generator=draw, dtype=dtype)


def shorten(monkeypatch) -> None:
    """Let `llmnotes train clip` take two steps of eight pictures."""
    entry = presets.PICTURES["clip"]
    preset = entry.preset(None)
    training = replace(
        preset.training, steps=2, warmup=0, batch_size=8, eval_every=2
    )
    found = {"shapes": replace(preset, training=training)}
    short = replace(entry, presets=found)
    monkeypatch.setitem(presets.PICTURES, "clip", short)
