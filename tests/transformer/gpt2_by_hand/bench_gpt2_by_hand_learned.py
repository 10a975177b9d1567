"""A tiny GPT-2 by hand learns Shakespeare in GPT-2's own tokens."""

import numpy as np
import pytest

from llmnotes import data
from llmnotes.foundations.tokenizers import ByteBPE, gpt2_ranks
from llmnotes.transformer.gpt import GPTConfig
from llmnotes.transformer.gpt2_by_hand import (
    GPT2,
    initial,
    loops,
    mean_loss,
    padded,
    sample,
    steps,
)

SMALL = GPTConfig(50_257, n_positions=32, n_embd=48, n_layer=2, n_head=4)
BATCH, STEPS, EVERY, SEED = 4, 400, 50, 0
PROMPT = "ROMEO:\n"


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_shakespeare_in_gpt2s_tokens(record):
    words = ByteBPE.from_tiktoken(gpt2_ranks())
    text = data.text("tiny_shakespeare")
    ids, other = data.split(np.array(words.encode(text)))
    rows = padded(SMALL.vocab_size)
    model = GPT2(SMALL, initial(SMALL, SEED, rows), loops)
    size = dict(batch_size=BATCH, block=SMALL.n_positions)
    found = []
    lately = []
    for step, loss in enumerate(
        steps(model, ids, STEPS, seed=SEED, lr=3e-3, **size), 1
    ):
        lately.append(loss)
        if step == 1 or step % EVERY == 0:
            held = mean_loss(model, other, 10, **size)
            found.append((step, sum(lately) / len(lately), held))
            lately = []
    prompt = np.array(words.encode(PROMPT))
    written = sample(model, prompt, 40, temperature=0.8, seed=SEED)
    record(
        "learned",
        kind="trained",
        example="that the step by hand learns",
        seeds=[SEED],
        spread={"trained": 0.3, "held": 0.3},
        title=f"Loss on tiny Shakespeare in GPT-2's tokens, {STEPS} steps",
        prediction="It begins at ln 50,257 = 10.82, forgets in 50 steps the "
        "tokens that never come, and is near 6 at the end.",
        columns={"step": "", "trained": "", "held": ""},
        labels={
            "trained": "mean training loss since the last row",
            "held": "loss on the text held out",
        },
        rows=found,
    )
    record(
        "sample",
        kind="trained",
        example="what such a model writes",
        seeds=[SEED],
        spread={"text": None},
        title=f"What it writes after {PROMPT!r}, at temperature 0.8",
        prediction="Names, commas and short words, and no sentence.",
        columns={"text": ""},
        rows=[(words.decode(written.tolist()).replace("\n", " / "),)],
    )
