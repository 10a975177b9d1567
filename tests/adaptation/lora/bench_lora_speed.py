"""How long a training step takes, and a forward pass once it is merged."""

import statistics

import jaxtyping
import peft
import pytest
import torch

from llmnotes.adaptation.lora import merge
from llmnotes.adaptation.lora.task import Swaps, sentences
from llmnotes.transformer.bert import load_minilm
from tests.adaptation.lora import swap_runs

LORA = "LoRA, r = 8"
PEFT = "LoRA r = 8 in peft"
FLOOR = "gradients only pass"
TARGETS = ["query", "key", "value", "dense"]


@pytest.fixture(autouse=True)
def fair_ground():
    """One thread for everybody, and no shape checks inside the timings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(threads)


def in_peft():
    """The classifier with peft's adapters beside the same matrices."""
    model, _ = swap_runs.model_for("full")
    config = peft.LoraConfig(r=8, lora_alpha=8, target_modules=TARGETS)
    model.bert = peft.get_peft_model(model.bert, config)
    model.head.requires_grad_(True)
    return model


def passing():
    """The classifier whose lowest vector alone learns, below all matrices."""
    model, _ = swap_runs.model_for("last layer")
    model.bert.requires_grad_(False)
    model.bert.embeddings.LayerNorm.bias.requires_grad_(True)
    return model


def models():
    """{way: a model to train}."""
    found = {way: swap_runs.model_for(way)[0] for way in swap_runs.WAYS}
    return found | {PEFT: in_peft(), FLOOR: passing()}


def stepper(model, batch, task):
    """One optimizer step."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6, fused=True)
    model.train()

    def go():
        optimizer.zero_grad()
        task.loss(model, batch).backward()
        optimizer.step()

    return go


def medians(race, calls, rounds):
    """Seconds of each call, in turns."""
    return {n: statistics.median(s) for n, s in race(calls, rounds=rounds,
            slice_s=0.1).items()}  # fmt: skip


@pytest.mark.timing
def bench_a_step_of_each_way(race, record):
    _, tokenizer = load_minilm()
    task = Swaps(tokenizer, sentences()[swap_runs.KNOWN], [
        sentences()[-1]], swap_runs.BATCH, 0)  # fmt: skip
    batch = task.batch(0)
    calls = {n: stepper(m, batch, task) for n, m in models().items()}
    found = medians(race, calls, rounds=15)
    record(
        "step",
        kind="timing",
        seed=0,
        title=f"A step of MiniLM, {swap_runs.BATCH} sentences of "
        f"{batch[0].shape[1]} tokens",
        prediction=(
            "Without the gradients of the weights two thirds are left, and "
            "no moments to move: 0.65 of the time. peft does the same sums "
            "and takes as long. The last layer alone needs one way there "
            "and a sixth of the way back: 0.45. Where gradients pass through "
            "all layers and none is made for a matrix, 0.6: what no adapter "
            "can go below."
        ),
        columns={"way": "", "seconds": "s", "share": ""},
        labels={"way": "trained", "share": "of full fine-tuning"},
        rows=[
            (name.replace(",", ""), seconds, seconds / found["full"])
            for name, seconds in found.items()
        ],
    )


@pytest.mark.timing
def bench_forward_beside_and_merged(race, record):
    plain, tokenizer = load_minilm()
    beside, merged = (swap_runs.model_for(LORA)[0].bert for _ in range(2))
    merge(merged)
    ids, mask = tokenizer.batch(list(sentences()[:32]))

    def reader(model):
        def go():
            with torch.no_grad():
                model.eval()(ids, mask)

        return go

    kinds = {"MiniLM": plain, "adapters beside it": beside, "merged": merged}
    calls = {name: reader(model) for name, model in kinds.items()}
    found = medians(race, calls, rounds=15)
    record(
        "forward",
        kind="timing",
        seed=0,
        title="Reading 32 sentences with adapters of rank 8 beside the "
        "weights, and in them",
        prediction="Merged as quick as without; beside them a tenth slower.",
        columns={"model": "", "seconds": "s"},
        rows=list(found.items()),
    )
