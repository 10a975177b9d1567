"""The same fine-tuning in 16 and in 4 bits, in a process of its own.

    python -m tests.adaptation.qlora.limited BITS LAYERS [MB]

A GPT with seven million numbers in each layer is made piece by piece, so
that it is never there in more bits than asked for, and an adapter learns two
steps. With a limit, the process may have so many megabytes more than it had
before; the kernel refuses the rest (RLIMIT_DATA). Prints what happened.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace

import torch
from torch import nn

from llmnotes import train
from llmnotes.adaptation.lora import add_lora
from llmnotes.adaptation.lora.attach import linear_layers
from llmnotes.adaptation.qlora import NF4Linear
from llmnotes.transformer.gpt import GPT, GPTConfig
from llmnotes.transformer.gpt.model import Conv1D

SHAPE = GPTConfig(104, n_positions=64, n_embd=768, n_layer=12, n_head=12)
NAME = "tests.adaptation.qlora.limited"  # of this module
TINY = GPTConfig(104, n_positions=64, n_embd=64, n_layer=1, n_head=4)
HALF = torch.bfloat16


FIXED = {"MALLOC_MMAP_THRESHOLD_": "131072"}  # what is freed is given back


def run(bits, megabytes=None, layers=6):
    """What a process says that may have so many megabytes more."""
    words = [bits, layers] + ([megabytes] if megabytes else [])
    command = [sys.executable, "-m", NAME, *map(str, words)]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True,
        env=os.environ | FIXED,
    )  # fmt: skip
    return json.loads(said.stdout)


def drawn(layer):
    """The layer with numbers, in 16 bits."""
    made = Conv1D(*layer.weight.shape)
    nn.init.normal_(made.weight, std=0.02)
    nn.init.zeros_(made.bias)
    return made.to(HALF)


def model_in(bits, shape):
    """A GPT whose matrices are in so many bits, the rest in 16."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = GPT(shape)
    for path, layer in linear_layers(model).items():
        layer = drawn(layer)
        model.set_submodule(path, NF4Linear(layer) if bits == 4 else layer)
    for name, p in list(model.named_parameters()):
        if p.is_meta:
            path, _, last = name.rpartition(".")
            value = torch.full(p.shape, 0.02 if p.ndim > 1 else 1.0)
            owner = model.get_submodule(path)
            setattr(owner, last, nn.Parameter(value.to(HALF)))
    return model


def learn(bits, shape):
    """Two steps of an adapter beside all matrices."""
    model = add_lora(model_in(bits, shape), 8, 8)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    ids = torch.randint(shape.vocab_size, (1, 17))
    for _ in range(2):
        optimizer.zero_grad()
        loss = train.loss(model, ids[:, :-1], ids[:, 1:])
        loss.backward()
        optimizer.step()
    return loss.item(), sum(
        x.nbytes for x in [*model.parameters(), *model.buffers()]
    )


def status(name):
    """A line of what the kernel says of this process, in bytes."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    raise LookupError(name)


def main(bits, layers, limit=None):
    import resource  # which Windows has not

    torch.set_num_threads(1)
    learn(bits, TINY)  # what a first step allocates for good
    before, data = status("VmHWM"), status("VmData")
    if limit is not None:
        most = data + limit * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    try:
        loss, weights = learn(bits, replace(SHAPE, n_layer=layers))
    except (MemoryError, RuntimeError) as error:
        print(json.dumps({"fits": False, "why": str(error)[:200]}))
        return
    peak = status("VmHWM") - before
    found = {"fits": True, "loss": loss, "weights": weights, "peak": peak}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
