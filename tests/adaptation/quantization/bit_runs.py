"""What formats and methods cost, one run after the other.

format = how it is called on the page
seed   = of the calibration text; None where nothing is calibrated
"""

from dataclasses import replace

import torch

from tests import base_model
from tests.adaptation.quantization import subjects, ways

ROUNDED = {
    "int8, one scale": ("int8", "tensor"),
    "int8, each row": ("int8", "channel"),
    "int4, one scale": ("int4", "tensor"),
    "int4, each row": ("int4", "channel"),
    "int4, 128": ("int4", 128),
    "int4, 64": ("int4", 64),
    "int4, 32": ("int4", 32),
    "int4 and zero, each row": ("uint4", "channel"),
    "int4 and zero, 64": ("uint4", 64),
    "int3, 64": ("int3", 64),
    "int3 and zero, 64": ("uint3", 64),
    "int2, 64": ("int2", 64),
    "int2 and zero, 64": ("uint2", 64),
    "NF4, 64": ("nf4", 64),
    **{
        name: (name.lower(), None)
        for name in (
            *("q8_0", "q6_K", "q5_K", "q5_1", "q5_0", "q4_K", "q4_1"),
            *("q4_0", "q3_K", "q2_K"),
        )
    },
}
GPTQ, AWQ = "GPTQ", "AWQ"
CALIBRATED = {
    "int4 and zero, each row, GPTQ": (GPTQ, 4, "channel"),
    "int4 and zero, 64, GPTQ": (GPTQ, 4, 64),
    "int4 and zero, 64, AWQ": (AWQ, 4, 64),
    "int3 and zero, 64, GPTQ": (GPTQ, 3, 64),
    "int3 and zero, 64, AWQ": (AWQ, 3, 64),
    "int2 and zero, 64, GPTQ": (GPTQ, 2, 64),
}
WAYS = {GPTQ: ways.by_gptq, AWQ: ways.by_awq}
SUBJECTS = {"GPT": subjects.gpt, "MiniLM": subjects.minilm}


def cost(name, form, seed):
    """Bits per weight, and what a model's judge says."""
    subject = SUBJECTS[name]()
    if form in ROUNDED:
        model, bits = ways.rounded(subject, *ROUNDED[form])
    elif form in CALIBRATED:
        how, *rest = CALIBRATED[form]
        model, bits = ways.calibrated(
            subject, WAYS[how](*rest), lambda m: subject.show(m, seed)
        )
    else:
        model, bits = subject.model, 32
    return [bits, *subject.judge(model)]


OTHERS = {
    "Python's reference": lambda: base_model.ids(base_model.BEFORE)[0],
    "the text it is judged on": lambda: base_model.ids(base_model.BEFORE)[1],
    "Shakespeare": lambda: base_model.ids(base_model.AFTER)[0],
    "letters drawn at random": lambda: torch.randint(
        base_model.vocabulary().size,
        (200_000,),
        generator=torch.Generator().manual_seed(0),
    ),
}


def calibrated_on(text, windows, seed):
    """GPTQ to 3 bits in groups of 64, calibrated on some windows of a text."""
    subject, ids = subjects.gpt(), OTHERS[text]()
    some = subjects.draw(ids, seed, windows)
    model, _ = ways.calibrated(
        subject, ways.by_gptq(3, 64), lambda model: model(some)
    )
    return subject.judge(model)


PLAIN, LARGE, TIMES = "as trained", "two channels × 100", 100.0


@torch.no_grad()
def with_outliers(model, seed):
    """Make two channels of every norm large, and change no answer by it."""
    rng = torch.Generator().manual_seed(seed)
    for block in model.transformer["h"]:
        for norm, layer in (
            (block.ln_1, block.attn.c_attn),
            (block.ln_2, block.mlp.c_fc),
        ):
            two = torch.randperm(len(norm.weight), generator=rng)[:2]
            norm.weight[two] *= TIMES
            norm.bias[two] *= TIMES
            layer.weight[two] /= TIMES


def reads_a_norm(name):
    """Whether a layer of the GPT or of MiniLM reads what a norm hands out."""
    return name.endswith(
        ("c_attn", "c_fc", "query", "key", "value", "intermediate.dense")
    )


ROUGH, FINE, MIXED = (
    "one scale for all",
    "a scale a token, a scale a row",
    "LLM.int8(), from 6 on",
)
EIGHT = {ROUGH: ways.rough, FINE: ways.fine, MIXED: ways.mixed}
ALL, NORMS, BUT = (
    "SmoothQuant",
    "SmoothQuant behind norms",
    "SmoothQuant but in one matrix",
)
WHERE = {
    ALL: lambda name: True,
    NORMS: reads_a_norm,
    BUT: lambda name: name != "0.output.dense",
}


def in_eight(name, weights, scales, smooth, seed):
    """What products in int8 cost a model, with or without outliers."""
    subject = SUBJECTS[name]()
    if weights == LARGE:
        model = subject.copy()
        with_outliers(model, seed)
        subject = replace(subject, model=model)
    product = EIGHT[scales]
    if smooth:
        most = ways.largest(subject, lambda m: subject.show(m, seed))
        product = ways.smoothed(product, most, WHERE[smooth])
    return [*subject.judge(ways.eight(subject, product))]
