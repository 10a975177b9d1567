"""What the LSTM chapter measures: errors carried back, memory, speed."""

import functools
import statistics

import jaxtyping
import pytest
import torch
from torch import nn

from llmnotes.sequence.lstm import LSTM, LSTM1997, lstm_cell, set_forget_bias
from llmnotes.sequence.lstm.by_hand import ByHandLSTM, FusedLSTM
from llmnotes.sequence.lstm.carousel import gain_by_lag
from llmnotes.sequence.lstm.files import RATE, load_silero, tone, vowel
from llmnotes.sequence.lstm.task import (
    Answerer,
    Task,
    copy_batch,
    copy_loss,
    copy_score,
    learn,
)
from llmnotes.sequence.rnn import RNN

SEED = 0


CELLS = {
    "plain RNN": RNN,
    "no forget gate": LSTM1997,
    "forget bias 0": lambda *s: set_forget_bias(LSTM(*s), 0.0),
    "forget bias 1": lambda *s: set_forget_bias(LSTM(*s), 1.0),
    "forget bias 4": lambda *s: set_forget_bias(LSTM(*s), 4.0),
}
GAIN_LABELS = {
    "lag": "lag k",
    "gain": "share of an error that comes back",
    "direct": "through the memory alone",
}


@functools.cache
def gains(cell):
    """Of an untrained network on random inputs: all ways, and the direct."""
    torch.manual_seed(SEED)
    model = CELLS[cell](8, 32).double()
    x = torch.randn(2, 128, 8, dtype=torch.float64)
    direct = model.states == 2 and gain_by_lag(model, x, direct=True)
    return gain_by_lag(model, x), direct


def bench_a_plain_network_loses_the_error(record):
    record(
        "lost",
        kind="tolerance",
        tolerance=1e-5,
        seed=SEED,
        title="What comes back of an error after k steps, before training",
        prediction=(
            "Weights drawn evenly from ±1/√h have a variance of 1/(3h), so a "
            "plain network should pass on 1/√3 = 0.58 of an error per step, "
            "less where tanh is flat. A memory that is only added to should "
            "pass on all of it."
        ),
        columns={"cell": "", "lag": "steps", "gain": ""},
        labels=GAIN_LABELS,
        rows=[
            (cell, lag, gains(cell)[0][lag].item())
            for cell in ("plain RNN", "no forget gate")
            for lag in (0, 1, 2, 4, 8, 16, 24, 32)
        ],
    )


def bench_errors_carried_back(record):
    record(
        "carousel",
        kind="tolerance",
        tolerance=1e-5,
        seed=SEED,
        title="How much of an error comes back over the lag, before training",
        prediction=(
            "Through the memory alone the gain is the product of the forget "
            "gates: 0.5 to the power of the lag at bias 0, 0.73 at bias 1, "
            "0.98 at bias 4, and exactly 1 where there is no forget gate. "
            "The detour through h and the gates should add little with "
            "these small weights. So PyTorch's own start, whose forget "
            "biases are near 0, should lose an error as fast as a plain "
            "RNN: half of it per step."
        ),
        columns={"cell": "", "lag": "steps", "gain": "", "direct": ""},
        labels=GAIN_LABELS,
        rows=[
            (
                *(cell, lag, gains(cell)[0][lag].item()),
                "–" if cell == "plain RNN" else gains(cell)[1][lag].item(),
            )
            for cell in CELLS
            for lag in (0, 1, 2, 4, 8, 16, 32, 64, 128)
        ],
    )


def mean_gate(model, x, gate=1):
    """Mean opening of one gate (1: forget) over units, steps and x."""
    opened = []
    weight_ih, weight_hh, bias_ih, bias_hh = model.weights(0, 0)
    h = c = x.new_zeros(x.shape[0], model.hidden_size)
    for at_t in x.unbind(1):
        sums = at_t @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh
        opened.append(sums.chunk(4, -1)[gate].sigmoid().mean())
        h, c = lstm_cell(at_t, h, c, weight_ih, weight_hh, bias_ih, bias_hh)
    return torch.stack(opened).mean().item()


def one_of_four(batch, lag, generator):
    """Show one of four symbols, wait, and ask for it."""
    return copy_batch(batch, lag, generator, symbols=4, width=1)


RECALL = Task(6, 4, one_of_four, copy_loss, copy_score)
STARTS = {"PyTorch's": None, "forget bias 1": 1.0, "forget bias 4": 4.0}
SEEDS, LAGS, UNITS = (0, 1, 2), (10, 20, 40, 80), 32


def begun(start, seed):
    torch.manual_seed(seed)
    model = Answerer(FusedLSTM, RECALL, UNITS)
    if STARTS[start] is not None:
        set_forget_bias(model.recurrent, STARTS[start])
    return model


@functools.cache
def taught(start, lag, seed):
    """Four hundred steps; the model, and what it recalls."""
    model = begun(start, seed)
    learn(
        *(model, RECALL, lag),
        steps=400, batch=32, learning_rate=5e-3, seed=seed,
    )  # fmt: skip
    x, answer = RECALL.batch(512, lag, torch.Generator().manual_seed(100))
    with torch.no_grad():
        return model, RECALL.score(model(x), answer)


@pytest.mark.trained
def bench_where_the_forget_gate_starts(record):
    rows = []
    for start in STARTS:
        for lag in LAGS:
            found = [taught(start, lag, seed)[1] for seed in SEEDS]
            rows.append((start, lag, statistics.mean(found), min(found)))
    record(
        "forget_bias",
        kind="trained",
        example="what the start of the gate changes at one rate; a ranking "
        "would tune each",
        seeds=SEEDS,
        spread={"recalled": 0.15, "least": 0.3},
        title=(
            "Recalling one of four symbols after a wait: share of right "
            "answers after 400 steps of training, three seeds"
        ),
        prediction=(
            "The first gradient arrives with 0.5 to the power of the lag at "
            "PyTorch's start, 0.73 at bias 1 and 0.98 at bias 4. Adam makes "
            "much of little, but a signal below the noise of the batches "
            "teaches nothing: PyTorch's start should fail from lag 20 on, "
            "bias 1 from lag 40 on, and bias 4 should manage all four. A "
            "guess is right in one case of four."
        ),
        columns={"start": "", "lag": "steps", "recalled": "", "least": ""},
        labels={
            "lag": "steps to wait",
            "recalled": "share recalled, mean of three seeds",
            "least": "share recalled, worst seed",
        },
        rows=rows,
    )


@pytest.mark.trained
def bench_gains_of_trained_memories(record, lag=20):
    rows = []
    x, _ = RECALL.batch(2, lag, torch.Generator().manual_seed(100))
    for start in STARTS:
        for when, answerer in (
            ("before", begun(start, 0)),
            ("after", taught(start, lag, 0)[0]),
        ):
            model = LSTM(RECALL.inputs, UNITS)
            model.load_state_dict(answerer.recurrent.state_dict())
            model.double()
            gain = gain_by_lag(model, x.double())
            forget = mean_gate(model, x.double())
            rows += [
                (start, when, k, gain[k].item(), forget)
                for k in (1, 5, 10, 15, 20)
            ]
    record(
        "learned",
        kind="trained",
        example="the gains inside one network, before and after it learns",
        seeds=(0,),
        spread={"gain": None, "forget": 0.1},
        title=f"Gains and forget gates before and after learning lag {lag}",
        prediction=(
            "A network that has learned to wait must keep the symbol "
            "somewhere, so its gain over the whole lag should be near 1 or "
            "above, whatever it was before, and its forget gates more open."
        ),
        columns={
            "start": "", "when": "", "lag": "steps", "gain": "", "forget": "",
        },
        labels={
            "when": "training",
            "lag": "lag k",
            "gain": "share of an error that comes back",
            "forget": "mean of the forget gates",
        },
        rows=rows,
    )  # fmt: skip


SOUNDS = (
    ("silence", lambda: torch.zeros(RATE // 2)),
    ("tone", lambda: tone(1.0)),
    ("silence", lambda: torch.zeros(RATE // 4)),
    ("noise", lambda: 0.1 * torch.randn(RATE)),
    ("silence", lambda: torch.zeros(RATE // 4)),
    ("vowels", lambda: spoken("aiuauia")),
    ("silence after them", lambda: torch.zeros(RATE // 2)),
)
FORMANTS = {
    "a": (730.0, 1090.0, 2440.0),
    "i": (270.0, 2290.0, 3010.0),
    "u": (300.0, 870.0, 2240.0),
}


def spoken(word):
    """A quarter of a second for each vowel, and a short pause after it."""
    pause = torch.zeros(RATE // 20)
    return torch.cat(
        [s for v in word for s in (vowel(0.25, FORMANTS[v]), pause)]
    )


@functools.cache
def heard():
    """Network, time, sound and probability of every chunk."""
    torch.manual_seed(SEED)
    parts = [(name, build()) for name, build in SOUNDS]
    labels = [name for name, sound in parts for _ in sound]
    sound = torch.cat([sound for _, sound in parts])
    model, rows = load_silero(), []
    for name, memory in (("with memory", True), ("without", False)):
        for n, p in enumerate(model(sound, memory=memory).tolist()):
            last = min(512 * n + 511, len(labels) - 1)
            rows.append((name, round(512 * n / RATE, 3), labels[last], p))
    return rows


def bench_a_trained_lstm_hears_vowels(record):
    record(
        "silero",
        kind="tolerance",
        tolerance=1e-2,
        seed=SEED,
        title="Probability of speech, as a trained LSTM hears it",
        prediction=(
            "Silence, a tone and noise are no speech, and synthetic vowels "
            "resemble it, so the last third should stand out. Without its "
            "memory the network should answer at once but waver: it must "
            "fall to nothing in every pause between two vowels, which the "
            "memory should bridge."
        ),
        columns={"network": "", "time": "s", "sound": "", "speech": ""},
        labels={"speech": "probability of speech"},
        rows=heard(),
    )


def bench_what_the_detector_takes_for_speech(record):
    rows = []
    for sound in dict.fromkeys(name for name, _ in SOUNDS):
        found = [
            [p for network, _, s, p in heard() if (network, s) == (n, sound)]
            for n in ("with memory", "without")
        ]
        rows.append(
            (sound, *(f(p) for p in found for f in (statistics.mean, max)))
        )
    record(
        "heard",
        kind="tolerance",
        tolerance=1e-2,
        seed=SEED,
        title="Probability of speech, by what was to be heard",
        prediction=(
            "With memory: below one half everywhere but in the vowels. "
            "Without: lower in the vowels, no higher elsewhere."
        ),
        columns={
            "sound": "", "mean": "", "most": "",
            "bare_mean": "", "bare_most": "",
        },
        labels={
            "mean": "mean with memory", "most": "most",
            "bare_mean": "mean without", "bare_most": "most",
        },
        rows=rows,
    )  # fmt: skip


THREADS = 1, 2
BATCH, LENGTH, INPUT, HIDDEN = 32, 128, 128, 128


class CellByCell(nn.LSTM):
    """A loop as one first writes it: slice x, call the cell, stack."""

    def forward(self, x):
        h = c = x.new_zeros(x.shape[0], self.hidden_size)
        parameters, outputs = list(self.parameters()), []
        for t in range(x.shape[1]):
            h, c = lstm_cell(x[:, t], h, c, *parameters)
            outputs.append(h)
        return torch.stack(outputs, 1), (h, c)


METHODS = {
    "cell by cell": CellByCell,
    "LSTM": LSTM,
    "ByHandLSTM": ByHandLSTM,
    "FusedLSTM": FusedLSTM,
    "nn.LSTM": lambda *sizes: nn.LSTM(*sizes, batch_first=True),
}


def entered(threads, model, x, upstream):
    """Return two calls: forward, and forward with backward."""
    wanted = [x, *model.parameters()]

    def forward():
        torch.set_num_threads(threads)
        return model(x)[0]

    def both():
        return torch.autograd.grad(forward(), wanted, upstream)

    return {"forward": forward, "both": both}


@pytest.fixture
def unchecked():
    """No shape checks inside the timings; the thread count put back."""
    threads = torch.get_num_threads()
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(threads)


@pytest.mark.timing
def bench_speed(record, race, unchecked):
    torch.manual_seed(SEED)
    theirs = nn.LSTM(INPUT, HIDDEN)
    x = torch.randn(BATCH, LENGTH, INPUT, requires_grad=True)
    upstream = torch.randn(BATCH, LENGTH, HIDDEN)
    contestants, answers = {}, []
    for method, build in METHODS.items():
        model = build(INPUT, HIDDEN)
        model.load_state_dict(theirs.state_dict())
        for threads in THREADS:
            calls = entered(threads, model, x, upstream)
            answers.append(calls["both"]())
            for what, call in calls.items():
                contestants[threads, method, what] = call
    for found in answers:
        torch.testing.assert_close(found, answers[-1], rtol=1e-3, atol=1e-3)
    times = race(contestants, rounds=7, slice_s=0.1)
    rows = []
    for threads in THREADS:
        for method in METHODS:
            forward = times[threads, method, "forward"]
            both = times[threads, method, "both"]
            base = times[threads, "nn.LSTM", "both"]
            ratio = [a / b for a, b in zip(both, base, strict=True)]
            rows.append(
                (
                    *(threads, method),
                    *(statistics.median(forward), statistics.median(both)),
                    statistics.median(ratio),
                )
            )
    record(
        "speed",
        kind="timing",
        seed=SEED,
        title=(
            f"One layer, batch {BATCH}, {LENGTH} steps, {INPUT} inputs, "
            f"{HIDDEN} units: forward, and forward with backward"
        ),
        prediction=(
            "A step is 4 MFLOP, some 50 µs, and a call from Python costs "
            "about 5 µs, so a dozen small operations forward and two dozen "
            "backward should cost as much as the products: three to four "
            "times nn.LSTM. A gradient by hand saves 127 of 128 products "
            "for the weights, which should help most. One pass over the "
            "numbers per step should bring us within 1.5 times. With two "
            "threads only the products are shared out, so we should fall "
            "behind again, to about twice nn.LSTM."
        ),
        columns={
            "threads": "", "method": "", "forward": "s", "both": "s",
            "per_torch": "",
        },
        labels={
            "both": "forward and backward",
            "per_torch": "times nn.LSTM, both",
        },
        rows=rows,
    )  # fmt: skip
