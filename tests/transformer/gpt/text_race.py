"""RNN, LSTM, GRU and GPT of equal size read one text: one run of one."""

import functools

import torch
from torch import nn

from llmnotes import train
from llmnotes.sequence.gru import GRU
from llmnotes.sequence.lstm import set_forget_bias
from llmnotes.sequence.lstm.by_hand import FusedLSTM
from llmnotes.sequence.rnn import RNN
from llmnotes.sequence.rnn.starts import start_orthogonal
from llmnotes.transformer.gpt import GPT, NANOGPT_CPU
from tests.transformer.gpt.training_runs import NANO, shakespeare

STEPS, EVERY, TUNED_AT = 1200, 100, 300
RECURRENT = {"RNN": RNN, "LSTM": FusedLSTM, "GRU": GRU}
BEGIN = {"RNN": start_orthogonal, "LSTM": set_forget_bias}
STARTS = {
    "RNN": "W orthogonal, biases 0; the rest PyTorch's",
    "LSTM": "forget biases 1; the rest PyTorch's",
    "GRU": "PyTorch's",
    "GPT": "GPT-2's: normal, 0.02, less where a layer writes to the stream",
}
HELD_BACK = 0.05  # of the training text: what rates are chosen on


class Reader(nn.Module):
    """Two recurrent layers between an embedding and a linear layer."""

    def __init__(self, recurrent, vocab_size, width):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, width)
        self.layers = recurrent(width, width, 2)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, ids):
        return self.head(self.layers(self.embed(ids))[0])


def size(model):
    return sum(p.numel() for p in model.parameters())


@functools.cache
def width_like_gpt(name):
    """The width at which a recurrent model is as large as the GPT."""
    with torch.device("meta"):
        goal = size(GPT(NANOGPT_CPU))
        return min(
            range(100, 600),
            key=lambda w: abs(size(Reader(RECURRENT[name], 65, w)) - goal),
        )


def model_of(name, seed=0):
    """A contestant as it starts."""
    width = name != "GPT" and width_like_gpt(name)
    torch.manual_seed(seed)
    if name == "GPT":
        return GPT(NANOGPT_CPU)
    model = Reader(RECURRENT[name], 65, width)
    BEGIN.get(name, lambda layers: layers)(model.layers)
    return model


def config_of(rate, steps, seed=0):
    return train.TrainConfig(
        steps=steps, batch_size=NANO.batch_size, block=NANO.block,
        learning_rate=rate, min_learning_rate=rate / 10, warmup=50,
        betas=(0.9, 0.98), eval_every=EVERY, eval_batches=100, seed=seed,
    )  # fmt: skip


def chosen(name, rate, seed):
    """A short run, judged on the end of the training text: the loss."""
    ids, _ = shakespeare()
    cut = int(len(ids) * (1 - HELD_BACK))
    config = config_of(rate, TUNED_AT, seed)
    history = train.train(
        model_of(name, seed), ids[:cut], ids[cut:], config, progress=False
    )
    return [history.final_loss]


def curve(name, rate, seed):
    """A whole run: [step, validation loss] and the loss at the end."""
    history = train.train(
        model_of(name, seed),
        *shakespeare(),
        config_of(rate, STEPS, seed),
        progress=False,
    )
    points = [[row.step, row.validation_loss] for row in history]
    return points, history.final_loss
