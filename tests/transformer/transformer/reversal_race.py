"""Writing a row backwards: five models of equal size, and one run of one."""

import functools

import torch
import torch.nn.functional as F

from llmnotes.sequence import seq2seq
from llmnotes.sequence.gru import GRU
from llmnotes.sequence.lstm import set_forget_bias
from llmnotes.sequence.lstm.by_hand import FusedLSTM
from llmnotes.sequence.rnn import RNN
from llmnotes.sequence.rnn.starts import start_orthogonal
from llmnotes.sequence.seq2seq import GeneralAttention, Seq2Seq
from llmnotes.sequence.seq2seq.decoding import greedy
from llmnotes.sequence.seq2seq.pairs import SPECIAL, reversal
from llmnotes.train_config import TrainConfig
from llmnotes.transformer.transformer import Transformer, TransformerConfig

SYMBOLS = 8
VOCAB = SPECIAL + SYMBOLS
LENGTHS = (5, 10, 20, 40)
STEPS, BATCH = 1500, 32
CHOSEN_ON, REPORTED_ON = 2**40, 2**41  # seeds that no training step has
SHAPE = TransformerConfig(VOCAB, d_model=32, heads=4, layers=2, d_ff=128)
ATTENTION = "GRU with attention"
CELLS = {"RNN": RNN, "LSTM": FusedLSTM, "GRU": GRU, ATTENTION: GRU}
BEGIN = {"RNN": start_orthogonal, "LSTM": set_forget_bias}
STARTS = {
    "RNN": "W orthogonal, biases 0; the rest PyTorch's",
    "LSTM": "forget biases 1; the rest PyTorch's",
    "GRU": "PyTorch's",
    ATTENTION: "PyTorch's",
    "Transformer": "Xavier's for matrices, embeddings normal, 1/√width",
}
MODELS = tuple(STARTS)


def build(name, width):
    """Encoder and decoder of one kind, as PyTorch starts them."""
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


def as_it_comes(name, seed=0):
    """A contestant with PyTorch's start."""
    width = name != "Transformer" and width_like_transformer(name)
    torch.manual_seed(seed)
    if name == "Transformer":
        return Transformer(
            TransformerConfig(**{**vars(SHAPE), "dropout": 0.0})
        )
    return build(name, width)


def model_of(name, seed=0):
    """A contestant begun as is best for it."""
    model = as_it_comes(name, seed)
    if name in BEGIN:
        for cell in (model.encoder, model.decoder):
            BEGIN[name](cell)
    return model


def batch_at(length, seed, step):
    return reversal(length, BATCH, seed=step + 2**32 * seed, symbols=SYMBOLS)


def share_right(model, length, seed, rows=200):
    """Share of symbols that greedy decoding writes rightly, unseen rows."""
    batch = reversal(length, rows, seed=seed, symbols=SYMBOLS)
    written = greedy(model, batch.source, max_length=length)
    wanted = batch.target_out[:, :length]
    written = F.pad(written, (0, length - written.shape[1]))
    return (written == wanted).double().mean().item()


def learns(name, length, rate, seed):
    """Train once: the share right that chooses, and the one reported."""
    config = TrainConfig(
        steps=STEPS, learning_rate=rate, min_learning_rate=0.0, warmup=200,
        betas=(0.9, 0.98), weight_decay=0.0, clip=1.0,
    )  # fmt: skip
    model = model_of(name, seed)
    data = functools.partial(batch_at, length, seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=config.betas, weight_decay=0.0, fused=True
    )  # one group: the gradient's norm adds up in the model's order
    seq2seq.fit(model, data, config, optimizer=optimizer, progress=False)
    return [
        share_right(model, length, seed, rows)
        for seed, rows in ((CHOSEN_ON, 200), (REPORTED_ON, 1000))
    ]
