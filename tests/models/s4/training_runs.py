"""Four models of one size, on digits of two lengths and on copying.

wait = steps without a symbol between what is shown and the question
"""

import torch
from torch import nn

from llmnotes.models.s4 import S4, S4Config
from llmnotes.models.s4.task import Digits
from llmnotes.sequence.lstm import set_chrono_bias
from llmnotes.sequence.lstm.by_hand import FusedLSTM
from llmnotes.sequence.lstm.task import (
    HELD_OUT,
    Recall,
    Task,
    copy_batch,
    copy_loss,
    copy_score,
)
from llmnotes.sequence.rnn import RNN
from llmnotes.sequence.rnn.starts import start_orthogonal
from llmnotes.train import fit
from llmnotes.train_config import TrainConfig
from llmnotes.transformer.positions import add_positions, sinusoidal

DIGITS, COPY = dict(steps=600, batch=32), dict(steps=400, batch=16)
ENOUGH = 0.99  # of all symbols copied: then a run ends


class Read(nn.Module):
    """A recurrent network that answers at every place."""

    def __init__(self, recurrent, output):
        super().__init__()
        self.recurrent = recurrent
        self.head = nn.Linear(recurrent.hidden_size, output)

    def forward(self, x):
        return self.head(self.recurrent(x)[0])


class Looked(nn.Module):
    """A Transformer's encoder over numbers: all places see all."""

    def __init__(self, input, output, d_model=24, d_ff=118):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            *(d_model, 2, d_ff, 0.0), batch_first=True, norm_first=True
        )
        self.embed = nn.Linear(input, d_model)
        self.encoder = nn.TransformerEncoder(
            layer, 2, nn.LayerNorm(d_model), enable_nested_tensor=False
        )
        self.head = nn.Linear(d_model, output)

    def forward(self, x):
        x = self.embed(x)
        places = sinusoidal(*x.shape[1:])
        return self.head(self.encoder(add_positions(x, places)))


def s4d(input, output, length):
    return S4(S4Config(input, output, d_model=48, state=32))


def lstm(input, output, length):
    """Memories that last from one step to the length of the text."""
    return Read(set_chrono_bias(FusedLSTM(input, 60), length), output)


def rnn(input, output, length):
    return Read(start_orthogonal(RNN(input, 120)), output)


def transformer(input, output, length):
    return Looked(input, output)


CONTESTANTS = {
    "RNN": rnn,
    "LSTM": lstm,
    "Transformer": transformer,
    "S4D": s4d,
}


def built(name, input, output, length, seed=0):
    """A contestant as it starts."""
    torch.manual_seed(seed)
    return CONTESTANTS[name](input, output, length)


def learned(model, task, rate, seed, steps, enough=0.0):
    """Train with AdamW, no decay; the last judgement."""
    config = TrainConfig(
        steps=steps,
        learning_rate=rate,
        min_learning_rate=0.0,
        schedule="linear",
        betas=(0.9, 0.99),
        weight_decay=0.0,
        warmup=min(50, steps - 1),
        eval_every=max(1, steps // 4),
        seed=seed,
    )
    try:
        history = fit(model, task, config, enough=enough, progress=False)
    except ValueError as error:  # S4D refuses steps that became infinite
        raise RuntimeError(f"lost: {error}") from error
    return history[-1].validation_loss


def read_digits(name, scale, part, rate, seed, steps=DIGITS["steps"]):
    """Train on digits; the share that is named rightly."""
    model = built(name, 1, 10, (8 * scale) ** 2, seed)
    task = Digits(scale, DIGITS["batch"], seed, part)
    return [1 - learned(model, task, rate, seed, steps)]


def one_of_eight(batch, wait, generator):
    """Show one of eight symbols, wait, and ask for it."""
    return copy_batch(batch, wait, generator, symbols=8, width=1)


ONE = Task(10, 8, one_of_eight, copy_loss, copy_score)


class Waited(Recall):
    """Copying, judged on 200 texts: a long one takes its time."""

    def evaluate(self, model):
        generator = torch.Generator().manual_seed(HELD_OUT)
        x, shown = self.task.batch(200, self.lag, generator)
        return 1 - copy_score(model(x), shown)


def copied(name, wait, rate, seed, steps=COPY["steps"]):
    """Train on copying over a wait; the share that is recalled."""
    model = built(name, ONE.inputs, ONE.answers, wait + 2, seed)
    task = Waited(ONE, wait, COPY["batch"], seed)
    wrong = learned(model, task, rate, seed, steps, 1 - ENOUGH)
    return [1 - wrong]
