"""Trained flows of digits, and the same straightened; each trained once.

kept = build/races/ddim-…: their checkpoints, by the code that trained them
"""

import hashlib
import shutil
import time

import torch

from llmnotes import checkpoint
from llmnotes.diffusion.ddim import runs
from llmnotes.diffusion.ddpm import runs as ddpm
from tests import contests

REFLOW_STEPS = 500


def trained(seed=0, rate=ddpm.RATE):
    """A flow with its average alone, frozen."""
    return frozen(with_seconds("flow", seed, rate)[0])


def straightened(seed=0, rate=ddpm.RATE):
    """The same after one round of reflow."""
    return frozen(with_seconds("reflow", seed, rate)[0])


def frozen(denoiser):
    denoiser.network = denoiser.network.average
    return denoiser.requires_grad_(False).eval()


def with_seconds(kind, seed, rate):
    """With its learner, and the CPU seconds that it took."""
    folder = home(kind, seed, rate)
    noted = folder.with_suffix(".seconds")
    denoiser = runs.untrained(seed)
    if noted.exists():
        checkpoint.load(folder, denoiser)
    else:
        shutil.rmtree(folder, ignore_errors=True)  # of a run that stopped
        torch.set_num_threads(1)
        start = time.process_time()
        learn = {"flow": learn_flow, "reflow": learn_again}[kind]
        learn(denoiser, seed, rate, folder)
        noted.write_text(str(time.process_time() - start), "utf-8")
    return denoiser, float(noted.read_text("utf-8"))


def learn_flow(denoiser, seed, rate, folder):
    ddpm.learn(
        denoiser, ddpm.task(denoiser, seed=seed),
        ddpm.config(rate=rate, seed=seed), out=folder, progress=False,
    )  # fmt: skip


def learn_again(denoiser, seed, rate, folder):
    """From the flow's weights on, with pairs of its own making."""
    first, _ = with_seconds("flow", seed, rate)
    denoiser.load_state_dict(first.state_dict())
    learned = runs.Reflow(frozen(first), seed=seed)
    config = ddpm.config(REFLOW_STEPS, rate / 3, seed)
    ddpm.learn(denoiser, learned, config, out=folder, progress=False)


def home(*job):
    """Where a flow is kept."""
    text = f"{contests.sources(runs.__name__)} {REFLOW_STEPS} {job}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return contests.KEPT / f"ddim-{digest}"
