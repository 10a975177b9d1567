"""What the chapter counts: calls, numbers sent and kept, models' sizes."""

import torch

from llmnotes import train
from llmnotes.parallel.data_parallel import run
from llmnotes.parallel.tensor_parallel import (
    MEGATRON_1,
    MEGATRON_1_LENGTH,
    MEGATRON_2,
    MEGATRON_2_LENGTH,
    VOCABULARY,
    parameters,
    traffic,
)
from tests.parallel.tensor_parallel import dense, held, mistakes

RANKS, NAMES = (1, 2, 3, 4), {"replicated": "tensor", "pieces": "+ sequence"}


def bench_calls_of_a_layer(record, everything):
    rows = []
    for way, name in NAMES.items():
        for ranks in RANKS:
            found = everything[ranks][0]["block", way]
            _, (forward, out), (backward, back) = found
            formula = traffic(dense.BATCH, dense.LENGTH, 24, ranks)
            rows.append(
                (name, ranks, said(forward), said(backward), int(out + back),
                 int(formula))
            )  # fmt: skip
    record(
        "calls",
        kind="exact",
        title="One layer of width 24 on 2 texts of 12 tokens: what a rank "
        "asks for, and the numbers that leave it",
        prediction="Two all-reduces each way and the formula's numbers; with "
        "sequence parallelism twice as many calls that send as much.",
        columns={"way": "", "ranks": "", "forward": "", "backward": "",
                 "sent": "", "formula": ""},
        labels={"way": "parallelism", "sent": "numbers sent",
                "formula": "8bsh(t − 1)/t"},
        rows=rows,
    )  # fmt: skip


SHORT = {
    "all-reduce": "AR", "all-gather": "AG", "reduce-scatter": "RS",
}  # fmt: skip


def said(calls):
    """Calls in short."""
    return " + ".join(
        f"{count} {SHORT[kind]}" for kind, count in sorted(calls.items())
    )


def bench_beside_the_dense_model(record, everything):
    made = dense.model()
    inputs, targets = dense.text()
    loss = train.loss(made, inputs, targets)
    loss.backward()
    right = {f"{k}.grad": p.grad for k, p in made.named_parameters()}
    right["loss"] = loss.detach()
    with torch.no_grad():
        right["logits"] = made(inputs)
    rows = []
    for way, name in NAMES.items():
        for ranks in RANKS:
            ours, *_ = everything[ranks][0]["model", way]
            far = {k: relative(ours[k], x) for k, x in right.items()}
            gradients = [x for k, x in far.items() if k.endswith(".grad")]
            rows.append(
                (name, ranks, far["loss"], far["logits"], max(gradients))
            )
    record(
        "parity",
        kind="tolerance",
        tolerance=1e-11,
        spread={"loss": 1e-13, "logits": 1e-13, "gradients": 1e-13},
        seed=0,
        title="A GPT of two layers in float64 beside the dense one: the "
        "largest relative difference",
        prediction="Rounding, and nothing else.",
        columns={"way": "", "ranks": "", "loss": "", "logits": "",
                 "gradients": ""},
        labels={"way": "parallelism", "gradients": "of all gradients"},
        rows=rows,
    )  # fmt: skip


def relative(ours, right):
    """The largest difference, in units of the largest number."""
    apart = (torch.from_numpy(ours) - right).abs().max() / right.abs().max()
    return float(apart)


def bench_mistakes(record, processes):
    found = run(mistakes.all_of_them, 2, processes=processes)[0]
    record(
        "mistakes",
        kind="tolerance",
        tolerance=1e-9,
        spread={"output": 1e-13, "gradient": 1e-13},
        seed=0,
        title="Two ranks, float64: the largest relative error beside the "
        "dense layer",
        prediction="Every mistake changes the output or a gradient; half of "
        "them change no output.",
        columns={"mistake": "", "output": "", "gradient": ""},
        labels={"gradient": "worst gradient"},
        rows=[(name, *errors) for name, errors in found.items()],
    )


def bench_numbers_kept(record, processes):
    found = {
        ranks: run(held.everything, ranks, processes=processes)[0]
        for ranks in RANKS
    }
    record(
        "kept",
        kind="exact",
        seed=0,
        title=f"Numbers that a rank keeps of a block of width "
        f"{held.CONFIG.n_embd} for the way back, {held.BATCH} texts of "
        f"{held.LENGTH} tokens",
        prediction="Without sequence parallelism a third stays on every rank "
        "however many there are; with it nearly nothing does.",
        columns={"way": "", "ranks": "", "kept": ""},
        labels={"way": "parallelism", "kept": "numbers kept"},
        rows=[(NAMES[way], t, found[t][way]) for way in NAMES for t in RANKS],
    )  # fmt: skip


def bench_sizes_of_megatron(record):
    rows = [
        ("2019", name, layers, hidden, 1, printed,
         parameters(layers, hidden, VOCABULARY, MEGATRON_1_LENGTH) / 1e9)
        for name, (layers, hidden, printed) in MEGATRON_1.items()
    ] + [
        ("2021", name, layers, hidden, ranks, printed,
         parameters(layers, hidden, VOCABULARY, MEGATRON_2_LENGTH) / 1e9)
        for name, (layers, hidden, ranks, printed) in MEGATRON_2.items()
    ]  # fmt: skip
    record(
        "sizes",
        kind="exact",
        title="The models of Megatron-LM's two papers: parameters in "
        "billions, as printed and by the formula",
        prediction="All fifteen, to the last digit that is printed.",
        columns={"paper": "", "model": "", "layers": "", "hidden": "",
                 "ranks": "", "printed": "", "formula": ""},
        labels={"hidden": "width", "ranks": "t"},
        rows=[(*row[:-1], round(row[-1], 4)) for row in rows],
    )  # fmt: skip
