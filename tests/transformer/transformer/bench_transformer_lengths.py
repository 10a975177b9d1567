"""From RNN to Transformer: one task, five models of equal size."""

import functools
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch
import torch.nn.functional as F

from llmnotes.sequence import seq2seq
from llmnotes.sequence.gru import GRU
from llmnotes.sequence.lstm import LSTM
from llmnotes.sequence.rnn import RNN
from llmnotes.sequence.seq2seq import GeneralAttention, Seq2Seq
from llmnotes.sequence.seq2seq.decoding import greedy
from llmnotes.sequence.seq2seq.pairs import SPECIAL, reversal
from llmnotes.train_config import TrainConfig
from llmnotes.transformer.transformer import Transformer, TransformerConfig

SEED = 0
SYMBOLS = 8
VOCAB = SPECIAL + SYMBOLS
LENGTHS = 5, 10, 20, 40
STEPS, BATCH = 1500, 32
RATES = 1e-3, 3e-3  # each model keeps the better one at each length
HELD_OUT = 2**40  # a seed that no training step has
SHAPE = TransformerConfig(VOCAB, d_model=32, heads=4, layers=2, d_ff=128)
ATTENTION = "GRU with attention"
CELLS = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU, ATTENTION: GRU}
MODELS = *CELLS, "Transformer"


def build(name, width):
    """Encoder and decoder of one kind."""
    attention = GeneralAttention(width) if name == ATTENTION else None
    return Seq2Seq(CELLS[name], VOCAB, VOCAB, width, attention)


def size(model):
    return sum(p.numel() for p in model.parameters())


@functools.cache
def width_like_transformer(name):
    """The width at which a recurrent pair is as large as the Transformer."""
    with torch.device("meta"):
        goal = size(Transformer(SHAPE))
        return min(
            range(20, 400), key=lambda w: abs(size(build(name, w)) - goal)
        )


def model_of(name):
    torch.manual_seed(SEED)
    if name == "Transformer":
        return Transformer(
            TransformerConfig(**{**vars(SHAPE), "dropout": 0.0})
        )
    return build(name, width_like_transformer(name))


def batch_at(length, step):
    return reversal(length, BATCH, seed=step, symbols=SYMBOLS)


def share_right(model, length):
    """Share of symbols that greedy decoding writes rightly, unseen rows."""
    batch = reversal(length, 200, seed=HELD_OUT, symbols=SYMBOLS)
    written = greedy(model, batch.source, max_length=length)
    wanted = batch.target_out[:, :length]
    written = F.pad(written, (0, length - written.shape[1]))
    return (written == wanted).double().mean().item()


def learn(job):
    """Train one model on one length; returns its share of right symbols."""
    name, length, rate = job
    torch.set_num_threads(1)
    config = TrainConfig(
        steps=STEPS, learning_rate=rate, min_learning_rate=0.0, warmup=200,
        betas=(0.9, 0.98), weight_decay=0.0, clip=1.0,
    )  # fmt: skip
    model = model_of(name)
    data = functools.partial(batch_at, length)
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=config.betas, weight_decay=0.0, fused=True
    )  # one group: the gradient's norm adds up in the model's order
    seq2seq.fit(model, data, config, optimizer=optimizer, progress=False)
    return share_right(model, length)


@pytest.mark.trained
def bench_accuracy_against_length(record):
    jobs = [(n, s, r) for s in LENGTHS for n in MODELS for r in RATES]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        # the longest first, so that both processes end together
        found = dict(zip(jobs[::-1], pool.map(learn, jobs[::-1]), strict=True))
    record(
        "accuracy",
        kind="trained",
        seeds=(SEED,),
        spread={"rate": None, "right": 0.15},
        title="Writing a sequence backwards: five models of equal size",
        prediction=(
            "One vector holds some ten symbols of 3 bits at this width and "
            "training, so without attention the share falls beyond length "
            "10, for the RNN first. With attention nothing has to be held: "
            "close to 1 everywhere, or not learned in time at length 80."
        ),
        columns={
            "model": "", "parameters": "", "length": "", "rate": "",
            "right": "",
        },
        labels={"right": "symbols right", "rate": "better rate"},
        rows=[
            (name, size(model_of(name)), length, *best(found, name, length))
            for name in MODELS
            for length in LENGTHS
        ],
    )  # fmt: skip


def best(found, name, length):
    """The rate at which a model did better, and how well."""
    rate = max(RATES, key=lambda r: found[name, length, r])
    return rate, found[name, length, rate]


@pytest.mark.timing
def bench_time_of_a_step(record, race):
    torch.set_num_threads(1)
    contestants = {
        (name, length): functools.partial(
            gradient, model_of(name), batch_at(length, 0)
        )
        for name in MODELS
        for length in LENGTHS
    }
    times = race(contestants, rounds=5)
    rows = [(*key, sorted(t)[len(t) // 2]) for key, t in times.items()]
    record(
        "time",
        kind="timing",
        seed=SEED,
        title=f"Forward and backward of {BATCH} sequences, one thread",
        prediction=(
            "The recurrent models are in proportion to the length. The "
            "Transformer has a fixed part of some 5 ms, then the same "
            "arithmetic in few large pieces, so it should be several times "
            "faster at 80, where its square is still small."
        ),
        columns={"model": "", "length": "", "seconds": "s"},
        rows=rows,
    )


def gradient(model, batch):
    model.zero_grad()
    seq2seq.loss(model, batch).backward()


def reach(model, length):
    """Gradient of each answer by the symbol it asks for, by their distance.

    Symbol n-1-k is read n-1-k steps after the first, and answered by output
    k: in a recurrence they are 2k + 1 steps apart.
    """
    batch, kept = reversal(length, 16, SEED, SYMBOLS), []
    table = getattr(model, "source_embedding", None) or model.embedding
    hook = table.register_forward_hook(lambda *call: kept.append(call[-1]))
    logits = model(batch.source, batch.target_in).transpose(1, 2)
    hook.remove()
    losses = F.cross_entropy(logits, batch.target_out, reduction="none")
    for k in range(0, length, 2):
        (slope,) = torch.autograd.grad(
            losses[:, k].sum(), kept[0], retain_graph=True
        )
        norm = slope[:, length - 1 - k].norm(dim=-1).mean()
        yield 2 * k + 1, norm.item()


def bench_how_far_gradients_reach(record, length=40):
    rows = []
    for name in MODELS:
        points = list(reach(model_of(name).double(), length))
        first = points[0][1]
        rows += [(name, distance, g / first) for distance, g in points]
    record(
        "reach",
        kind="tolerance",
        tolerance=1e-3,
        seed=SEED,
        title="Gradient that reaches the symbol asked for, before training",
        prediction=(
            "At the usual start a recurrence shrinks what passes by a factor "
            "of about 0.6 (RNN) to 0.8 (gates half open) per step, so after "
            "80 steps nothing is left. Attention has a path of length one "
            "from every answer to every symbol: flat."
        ),
        columns={"model": "", "distance": "", "gradient": ""},
        labels={
            "distance": "steps between symbol and answer",
            "gradient": "gradient, of that at distance 1",
        },
        rows=rows,
    )
