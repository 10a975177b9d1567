"""CLIPs that guide: they have seen noise.

kept = build/races/glide-clip-…: their checkpoints, by the code that trained
"""

import hashlib
import shutil
from pathlib import Path

import torch

from llmnotes import checkpoint, scenes, train
from llmnotes.diffusion.clip.looker import ShapesCLIP
from llmnotes.diffusion.clip.task import LAPTOP
from llmnotes.diffusion.ddpm import Schedule, cosine
from llmnotes.diffusion.glide import clip_guidance, noisy_pairs
from llmnotes.transformer.pretraining.muon import MuonAdamW
from tests import contests

STEPS, RATE = 500, 2e-3


def trained(seed=0):
    """A CLIP of captioned shapes that has seen noise; frozen."""
    torch.manual_seed(seed)
    model = clip_guidance.NoisedCLIP(LAPTOP, ShapesCLIP)
    folder = home(seed)
    if checkpoint.steps(folder)[-1:] == [STEPS]:
        checkpoint.load(folder, model)
    else:
        teach(model, seed, folder)
    return model.requires_grad_(False).eval()


def teach(model, seed, folder) -> None:
    """Train from the start on one thread."""
    torch.set_num_threads(1)
    schedule = Schedule(cosine())
    learned = noisy_pairs.NoisyPairs(
        schedule, schedule.steps, among=scenes.scenes(1), size=64, seed=seed
    )
    config = train.TrainConfig(
        steps=STEPS, batch_size=1, learning_rate=RATE,
        min_learning_rate=0.0, schedule="linear", warmup=50,
        weight_decay=0.0, clip=0.0, eval_every=STEPS, seed=seed,
    )  # fmt: skip
    optimizer = MuonAdamW(model, lr=RATE)
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
    train.fit(
        model, learned, config, optimizer=optimizer, out=folder,
        progress=False,
    )  # fmt: skip


def home(seed) -> Path:
    """Where a CLIP is kept."""
    text = f"{contests.sources(clip_guidance.__name__)} {seed}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return contests.KEPT / f"glide-clip-{digest}"
