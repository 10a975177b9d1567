"""What the LSTM chapter measures: errors carried back, memory, speed."""

import statistics

import jaxtyping
import pytest
import torch
from torch import nn

from llmnotes.sequence.carousel import gain_by_lag
from llmnotes.sequence.lstm import LSTM, LSTM1997, lstm_cell, set_forget_bias
from llmnotes.sequence.lstm_scan import ByHandLSTM, FusedLSTM
from llmnotes.sequence.memory_tasks import TASKS, Answerer
from llmnotes.sequence.rnn import RNN
from llmnotes.sequence.silero import RATE, load_silero, tone, vowel

SEED = 0


def forgetful(inputs, hidden, bias):
    return set_forget_bias(LSTM(inputs, hidden), bias)


def bench_errors_carried_back(record):
    inputs, hidden, longest, batch = 8, 32, 128, 2
    rows = []
    for name, build in (
        ("plain RNN", RNN),
        ("forget bias 0", lambda *s: forgetful(*s, 0.0)),
        ("forget bias 1", lambda *s: forgetful(*s, 1.0)),
        ("forget bias 4", lambda *s: forgetful(*s, 4.0)),
        ("no forget gate", LSTM1997),
    ):
        torch.manual_seed(SEED)
        model = build(inputs, hidden).double()
        x = torch.randn(batch, longest, inputs, dtype=torch.float64)
        whole = gain_by_lag(model, x)
        direct = (
            gain_by_lag(model, x, direct=True) if "RNN" not in name else None
        )
        for lag in (0, 1, 2, 4, 8, 16, 32, 64, 128):
            alone = "–" if direct is None else direct[lag].item()
            rows.append((name, lag, whole[lag].item(), alone))
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
        labels={
            "lag": "lag k",
            "gain": "gain from c_T to c_{T-k}",
            "direct": "the same through the memory alone",
        },
        rows=rows,
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


def judged(model, task, examples):
    x, answer = examples
    with torch.no_grad():
        out = model(x)
        return task.loss(out, answer).item(), task.score(out, answer)


@pytest.mark.timing
def bench_a_forget_bias_of_one(record):
    task, lag, steps, every = TASKS["add"], 60, 600, 50
    curve, gates = [], []
    for start in ("PyTorch's", "0", "1", "4"):
        losses, shares, opened = {}, {}, []
        for seed in (0, 1, 2):
            torch.manual_seed(seed)
            model = Answerer(FusedLSTM, task, 64)
            if start != "PyTorch's":
                set_forget_bias(model.recurrent, float(start))
            generator = torch.Generator().manual_seed(seed)
            examples = task.batch(256, lag, generator)
            before = mean_gate(model.recurrent, examples[0])
            optimizer = torch.optim.Adam(model.parameters(), 3e-3)
            for step in range(steps + 1):
                if step % every == 0:
                    loss, share = judged(model, task, examples)
                    losses.setdefault(step, []).append(loss)
                    shares.setdefault(step, []).append(share)
                x, answer = task.batch(64, lag, generator)
                optimizer.zero_grad()
                task.loss(model(x), answer).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            after = mean_gate(model.recurrent, examples[0])
            opened.append((before, after))
        for step, found in losses.items():
            middle = statistics.median(found)
            share = statistics.median(shares[step])
            curve.append((start, step, middle, share))
        means = [statistics.mean(o) for o in zip(*opened, strict=True)]
        gates.append((start, *means))
    return record, curve, gates


SOUNDS = (
    ("silence", lambda: torch.zeros(RATE // 2)),
    ("a tone", lambda: tone(1.0)),
    ("silence", lambda: torch.zeros(RATE // 4)),
    ("noise", lambda: 0.1 * torch.randn(RATE)),
    ("silence", lambda: torch.zeros(RATE // 4)),
    ("vowels", lambda: spoken("aiuauia")),
    ("silence", lambda: torch.zeros(RATE // 2)),
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


def bench_a_trained_lstm_hears_vowels(record):
    torch.manual_seed(SEED)
    parts = [(name, build()) for name, build in SOUNDS]
    labels = [name for name, sound in parts for _ in sound]
    sound = torch.cat([sound for _, sound in parts])
    model, rows = load_silero(), []
    for name, memory in (("with memory", True), ("without", False)):
        for n, p in enumerate(model(sound, memory=memory).tolist()):
            middle = min(512 * n + 256, len(labels) - 1)
            rows.append((name, round(512 * n / RATE, 3), labels[middle], p))
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
        rows=rows,
    )


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
