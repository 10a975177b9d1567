"""What a digit costs in bits: trained models, each judged by every term.

bits = per dimension, of which a digit has 64
pool = many single draws of the middle term, to see how much they vary
"""

import time

import torch

from llmnotes.diffusion.ddpm import bound, continuous, likelihood, log_snr
from llmnotes.diffusion.ddpm.task import LEVELS, digits, generator
from tests.diffusion.ddpm.denoisers import trained

SIZE, BATCH, BATCHES = 64, 64, 150
DRAWS, MORE = 32, 192  # times for each picture; more where they are compared
VALUES = continuous.grey_levels(LEVELS)


def in_bits(nats):
    """Bits per dimension, the mean over pictures."""
    return float(bound.bits_per_dimension(nats.mean(), SIZE))


def terms_of(target, schedule, seed):
    """{variance: its terms} of a denoiser, each digit told its class."""
    denoiser = trained(target, schedule, seed=seed)
    learn, judge = ([part[::every] for part in pair] for pair, every in
                    zip(digits(), (10, 3), strict=True))  # fmt: skip
    error = bound.squared_errors(
        denoiser, *learn, generator=generator(seed, 1)
    )
    at = denoiser.schedule
    variances = {
        "small": bound.fixed_small(at), "large": bound.fixed_large(at),
        "best": bound.optimal(at, error),
    }  # fmt: skip
    x0, classes = judge
    found = bound.terms(
        denoiser, x0, variances, classes, generator=generator(seed, 2)
    )
    return {name: parts(one) for name, one in found.items()}


def parts(found):
    """Bits: in all, prior, early and late steps, decoder, and a stride's."""
    early, late = found.steps[:, :99], found.steps[:, 99:]
    stride = found.prior + found.decoder + found.steps[:, ::16].sum(1) * 16
    return [
        in_bits(x) for x in (found.total, found.prior, late.sum(1),
                             early.sum(1), found.decoder, stride)
    ]  # fmt: skip


def likelihood_of(guess, steps, seed):
    """Bits and seconds of a guess, and what other γ make of its bound."""
    torch.set_num_threads(1)
    (learn, _), (judge, _) = digits()
    task = likelihood.Likelihood(learn, judge, seed=seed)
    model = likelihood.untrained(guess, seed)
    start = time.process_time()
    likelihood.learn(
        model, task, likelihood.config(steps, seed=seed), progress=False
    )
    seconds = time.process_time() - start
    model.requires_grad_(False).eval()
    line = log_snr.Gamma()
    return {
        "seconds": seconds,
        "learned": sum(cost(model, line, task.learn[::5], seed)),
        "terms": cost(model, line, task.judge, seed),
        "gammas": {
            name: [sum(cost(model, gamma, task.judge, seed, MORE)),
                   *noise_of(model, gamma, task.judge, seed)]
            for name, gamma in gammas(model, task).items()
        },
    }  # fmt: skip


def gammas(model, task):
    """Ways between the same two ends; one learned for this model."""
    learned = likelihood.calm(model, task).requires_grad_(False)
    return {
        "line": log_snr.Gamma(), "cosine": log_snr.CosineGamma(),
        "noise in a line": log_snr.LinearBeta(), "learned": learned,
    }  # fmt: skip


def cost(model, gamma, x0, seed, draws=DRAWS):
    """Prior, diffusion and decoder in bits; pictures in random order."""
    draw = generator(seed, 3)
    x0 = x0[torch.randperm(len(x0), generator=draw)]
    nats = continuous.bound(model, gamma, x0, VALUES, draws, generator=draw)
    return [in_bits(term) for term in nats.T]


def noise_of(model, gamma, x0, seed):
    """Standard deviations: of a draw, and of a batch with times drawn
    each by itself, or spread."""
    free, spread = (
        torch.stack([
            one_batch(model, gamma, x0, times, generator(seed, 4, i))
            for i in range(BATCHES)
        ])
        for times in (
            lambda draw: torch.rand(BATCH, generator=draw),
            lambda draw: log_snr.spread_times(BATCH, draw),
        )
    )  # fmt: skip
    return [float(x.std()) for x in (free, free.mean(1), spread.mean(1))]


@torch.no_grad()
def one_batch(model, gamma, x0, times, draw):
    """Single draws, in bits, of some of the pictures."""
    some = x0[torch.randint(len(x0), (BATCH,), generator=draw)]
    noise = continuous.normal(some, draw)
    nats = continuous.diffusion(model, gamma, some, times(draw), noise)
    return bound.bits_per_dimension(nats, SIZE)


def histogram(smoothing=1.0):
    """Bits of held-out digits, each number by its own learned shares."""
    (learn, _), (judge, _) = digits()
    seen, asked = (
        continuous.nearest(part.flatten(1), VALUES) for part in (learn, judge)
    )
    counts = torch.nn.functional.one_hot(seen, LEVELS).sum(0) + smoothing
    logs = (counts / counts.sum(1, keepdim=True)).log()
    found = logs.expand(len(asked), -1, -1).gather(2, asked[..., None])
    return in_bits(-found.sum((1, 2)))
