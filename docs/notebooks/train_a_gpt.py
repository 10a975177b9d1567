# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train a GPT
#
# This notebook trains a small GPT on the language reference that ships inside
# Python, in about half a minute on a laptop, draws how the loss falls, and
# lets the model write. Nothing is downloaded. The chapter
# [GPT](../transformer/gpt.md) explains every
# part; here we use them. To run it yourself: `pip install -e '.[site]'
# jupyterlab` in a copy of the repository.

# %%
import matplotlib.pyplot as plt
import torch
from matplotlib_inline.backend_inline import set_matplotlib_formats

from llmnotes import data
from llmnotes.train import TrainConfig, evaluate_all, train
from llmnotes.transformer.gpt import GPTConfig, generate, parameters
from llmnotes.transformer.gpt.bigram import Bigram, bigram_loss, pair_counts
from llmnotes.transformer.training_step import FusedGPT

torch.set_num_threads(1)  # small products gain nothing from a second one
torch.manual_seed(0)

text = data.text("python_reference")
print(f"{len(text):,} characters; they begin:\n{text[:200]}")

# %% [markdown]
# Every different character is a token. The last tenth of the text is kept
# away from training.

# %%
vocabulary = data.CharVocabulary(text)
train_ids, validation_ids = data.split(vocabulary.encode(text))
print(vocabulary.size, "symbols:", repr(vocabulary.symbols[:70]))

# %% [markdown]
# ## What counting can do
#
# Before any network: how often does each character follow each other one?
# Drawn from these counts, the text looks like English from afar. Its loss is
# what the GPT has to beat.

# %%
counts = pair_counts(train_ids, vocabulary.size)
baseline = bigram_loss(train_ids, validation_ids, vocabulary.size)
print(f"loss of the pairs: {baseline:.3f} nats per character")


def write(model, prompt, length=240, seed=0, **options):
    """Continue a prompt with a model."""
    generator = torch.Generator().manual_seed(seed)
    ids = vocabulary.encode(prompt)[None]
    out = generate(model, ids, length, generator=generator, **options)
    return vocabulary.decode(out[0])


print(write(Bigram(counts), "The "))

# %% [markdown]
# ## The model
#
# Two blocks of width 64 that see 64 characters. `FusedGPT` is `GPT` with
# operations that are quick on a CPU.

# %%
config = GPTConfig(
    vocabulary.size, n_positions=64, n_embd=64, n_layer=2, n_head=4
)
model = FusedGPT(config)
print(f"{parameters(model):,} parameters")

# %% [markdown]
# ## Training
#
# Each step reads 16 pieces of 64 characters. The learning rate rises for 50
# steps and then falls along a cosine.

# %%
history = train(
    model,
    train_ids,
    validation_ids,
    TrainConfig(
        steps=500,
        batch_size=16,
        block=64,
        learning_rate=8e-3,
        min_learning_rate=8e-4,
        warmup=50,
        eval_every=50,
        eval_batches=4,
    ),
    progress=False,
)
for row in history:
    print(f"step {row.step:4}  validation loss {row.validation_loss:.3f}")

# %% alt="Loss against steps: the GPT passes the pairs and goes on falling"
set_matplotlib_formats("svg")
GREY = "#808080"  # readable on white and on black
plt.rcParams.update(
    {
        "svg.fonttype": "none",
        "font.size": 12,
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor"), GREY
        ),
        **dict.fromkeys(("xtick.color", "ytick.color"), GREY),
        **dict.fromkeys(
            ("figure.facecolor", "axes.facecolor", "savefig.facecolor"),
            "none",
        ),
    }
)
fig, ax = plt.subplots(figsize=(6.5, 3.5))
steps = [row.step for row in history]
losses = [row.validation_loss for row in history]
ax.plot(steps, losses, color="#d55e00", linewidth=2)
ax.annotate("GPT", (steps[-1], losses[-1]), xytext=(6, 0),
            textcoords="offset points", color="#d55e00")  # fmt: skip
ax.axhline(baseline, color="#0072b2", linestyle="--")
ax.annotate("pairs, counted", (steps[-1], baseline), xytext=(-90, 5),
            textcoords="offset points", color="#0072b2")  # fmt: skip
ax.set_xlabel("step")
ax.set_ylabel("validation loss, nats")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# Counting is hard to beat at first: the network spends its first steps
# finding out what the counts say at once. By the middle of the training it
# is ahead, since it looks further back than one character. On the whole
# validation text:

# %%
final = evaluate_all(model, validation_ids, TrainConfig(block=64))
print(f"{final:.3f} nats per character; pairs: {baseline:.3f}")
assert losses[4] < baseline and final < baseline

# %% [markdown]
# ## Writing
#
# The same model, colder and warmer. At 0 it always says the likeliest, and
# soon goes round in a circle; near 1 it is inventive and sometimes wrong;
# `top_p` cuts off the unlikeliest.

# %%
for options in (
    {"temperature": 0.0},
    {"temperature": 0.7},
    {"temperature": 1.0, "top_p": 0.9},
):
    print(options, "\n", write(model, "The ", **options), "\n", sep="")

# %% [markdown]
# To go on: `llmnotes train gpt --data tiny_shakespeare --preset minigpt --out
# run` trains the chapter's model on Shakespeare, and can be stopped and
# resumed.
