"""Trained CLIPs, priors and decoders, each with what its training took.

kept  = build/races/dalle2-…: checkpoints, by the code that trained them
apart = the CLIP whose scale was held at 100 all along, and what is built on
        it; without it, the CLIP of the chapter before
"""

import functools
import hashlib
import math
import shutil
import time
from dataclasses import replace
from pathlib import Path

import torch

from llmnotes import checkpoint
from llmnotes.diffusion.clip.task import LAPTOP
from llmnotes.diffusion.dalle2 import runs
from llmnotes.diffusion.dalle2.task import Known, known
from llmnotes.scenes import scenes
from tests import contests
from tests.diffusion.clip import models as clips


def clip(seed, apart=False):
    """A CLIP, frozen."""
    return held(seed)[0] if apart else clips.trained(seed)


def held(seed):
    """A CLIP whose temperature is .01 from the first step to the last."""
    shape = replace(LAPTOP, logit_scale_init_value=math.log(100))
    made = clips.runs.untrained(seed=seed, config=shape)
    made.logit_scale.requires_grad_(False)
    config = clips.runs.config(seed=seed)
    learned = clips.runs.task(seed=seed)

    def teach(folder):
        clips.runs.learn(made, learned, config, out=folder, progress=False)

    return kept(made, teach, "clip", seed, "apart")


@functools.cache
def pairs(seed, apart=False):
    """What priors learn from, and what judges them on the way."""
    path = home(job("pairs", seed, apart)).with_suffix(".pt")
    if not path.exists():
        eyes, among = clip(seed, apart), scenes(2)
        learned = known(eyes, runs.PAIRS, among=among, seed=seed)
        judged = known(eyes, runs.JUDGED, among=among, split="test")
        found = [(k.texts, k.images) for k in (learned, judged)]
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        torch.save(found, part)
        part.replace(path)
    return [Known(*each, []) for each in torch.load(path)]


def prior(name, seed, apart=False):
    """A prior as its recipe makes it, and the CPU seconds of that."""
    learned, judged = pairs(seed, apart)
    made = runs.untrained(name, learned, seed)

    def teach(folder):
        runs.learn(
            made, name, learned, judged, seed=seed, out=folder, progress=False
        )

    if name not in runs.RECIPES:
        return made.eval(), 0.0
    return kept(made, teach, *job(name, seed, apart))


def decoder(seed, apart=False):
    """A decoder, and the CPU seconds of its training."""
    eyes = clip(seed, apart)
    made = runs.untrained_decoder(eyes.config.projection_dim, seed=seed)

    def teach(folder):
        runs.learn_decoder(made, eyes, seed=seed, out=folder, progress=False)

    return kept(made, teach, *job("decoder", seed, apart))


def job(name, seed, apart):
    """What a model is kept by."""
    return (name, seed, "apart") if apart else (name, seed)


def kept(model, teach, *job):
    """Load a model, or teach it and keep it; with the seconds it took."""
    folder, noted = home(job), home(job).with_suffix(".seconds")
    if noted.exists():
        checkpoint.load(folder, model)
    else:
        torch.set_num_threads(1)
        shutil.rmtree(folder, ignore_errors=True)  # of a run that stopped
        start = time.process_time()
        teach(folder)
        seconds = time.process_time() - start
        noted.write_text(str(seconds), "utf-8")
    model.requires_grad_(False).eval()
    return model, float(noted.read_text("utf-8"))


def home(job) -> Path:
    """Where a model is kept."""
    known = [contests.sources(m.__name__) for m in (runs, clips.runs)]
    text = f"{known} {job}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return contests.KEPT / f"dalle2-{digest}"
