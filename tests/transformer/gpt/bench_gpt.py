"""What the GPT chapter counts, computes and trains."""

import math
import statistics

import pytest
import torch

from llmnotes import data, train
from llmnotes.transformer.gpt import (
    GPT,
    GPT1,
    GPT_1,
    GPT_2_LARGE,
    GPT_2_MEDIUM,
    GPT_2_SMALL,
    GPT_2_XL,
    GPTConfig,
    generate,
    parameters,
)
from llmnotes.transformer.gpt.bigram import (
    Bigram,
    bigram_loss,
    cycles,
    log_chances,
    pair_counts,
    unigram_loss,
)
from tests.transformer.gpt.training_runs import (
    MINI,
    plain,
    shakespeare,
    trained,
)

SEED = 0


def bench_parameter_counts(record):
    published = {
        "GPT-1": (GPT1, GPT_1, "117M"),
        "GPT-2 small": (GPT, GPT_2_SMALL, "117M"),
        "GPT-2 medium": (GPT, GPT_2_MEDIUM, "345M"),
        "GPT-2 large": (GPT, GPT_2_LARGE, "762M"),
        "GPT-2 XL": (GPT, GPT_2_XL, "1542M"),
    }
    rows = []
    for name, (cls, config, paper) in published.items():
        old = GPTConfig(**{**vars(config), "vocab_size": GPT_1.vocab_size})
        with torch.device("meta"):
            rows.append(
                (name, paper, parameters(cls(config)), parameters(cls(old)))
            )
    record(
        "counts",
        kind="exact",
        title="Parameters of GPT-1 and GPT-2, and what the papers print",
        prediction=(
            "Each block has 12·C² + 13·C parameters, the embeddings (V + T)·C"
            ". With GPT-2's vocabulary of 50,257 that is 124M for the small "
            "model; the paper's 117M suggests that its table was made with "
            "GPT-1's 40,478. If so, all four sizes must come out."
        ),
        columns={"model": "", "paper": "", "own": "", "with_gpt1": ""},
        labels={
            "paper": "in the paper",
            "own": "counted",
            "with_gpt1": "counted with GPT-1's vocabulary",
        },
        rows=rows,
    )


@pytest.mark.usefixtures("tiny_shakespeare")
def bench_counting_characters(record):
    ids, other = shakespeare()
    size = 65
    rows = [("every character alike", *2 * (math.log(size),))]
    for name, loss in (("one", unigram_loss), ("pair", bigram_loss)):
        rows.append((name, loss(ids, ids, size), loss(ids, other, size)))
    names = {"one": "counts of characters", "pair": "counts of pairs"}
    record(
        "baselines",
        kind="tolerance",
        tolerance=1e-9,
        title="Loss of what can be had by counting, tiny Shakespeare",
        prediction=(
            "65 symbols alike cost ln 65 = 4.174 nats each. English letters "
            "have an entropy of about 2.9 nats with spaces and case; knowing "
            "the letter before should save close to one more."
        ),
        columns={"model": "", "train": "nat", "validation": "nat"},
        labels={"train": "training text", "validation": "validation text"},
        rows=[(names.get(row[0], row[0]), *row[1:]) for row in rows],
    )


@pytest.mark.usefixtures("tiny_shakespeare")
def bench_one_batch_is_a_poor_judge(record):
    ids, other = shakespeare()
    table = log_chances(pair_counts(ids, 65))
    rows = []
    for batches in (1, 20, 200):
        seen = []
        for trial in range(100):
            config = train.TrainConfig(block=32, seed=trial)
            loss = sum(
                -table[train.batch(other, config, i)].mean().item()
                for i in range(batches)
            )
            seen.append(loss / batches)
        rows.append((batches, statistics.stdev(seen), max(seen) - min(seen)))
    record(
        "judge",
        kind="tolerance",
        tolerance=1e-6,
        seed=SEED,
        title="One model, judged a hundred times on random batches of 16 × 32",
        prediction=(
            "The loss of a character spreads by about 2 nats. Over 512 "
            "characters that is 2/√512 = 0.09, more if neighbours are alike; "
            "20 batches should give 0.02, 200 about 0.006."
        ),
        columns={"batches": "", "std": "nat", "range": "nat"},
        labels={
            "batches": "batches a judgement is made on",
            "std": "standard deviation",
            "range": "largest minus smallest",
        },
        rows=rows,
    )


@pytest.mark.usefixtures("tiny_shakespeare")
def bench_greedy_pairs_go_round_in_circles(record):
    text = data.text("tiny_shakespeare")
    vocabulary = data.CharVocabulary(text)
    ids, _ = data.split(vocabulary.encode(text))
    counts = pair_counts(ids, vocabulary.size)
    model = Bigram(counts)
    rows = []
    for start in "KAq3Zl-\n":
        out = generate(
            model, vocabulary.encode(start)[None], 14, temperature=0
        )
        rows.append((repr(start)[1:-1], shown(vocabulary.decode(out[0]))))
    found = cycles(counts.argmax(1))
    ends = [shown(vocabulary.decode(torch.tensor(c))) for c in found]
    record(
        "greedy",
        kind="exact",
        title="What the likeliest next character says after each start",
        prediction=(
            "The likeliest follower is a map of 65 symbols to themselves. "
            "Whatever it is, a walk repeats within 65 steps and then goes "
            "round forever; the commonest word of three letters is the "
            "likely circle."
        ),
        columns={"start": "", "text": ""},
        labels={"text": f"continued greedily; all circles: {ends}"},
        rows=rows,
    )


def shown(text):
    """Make spaces and line ends visible."""
    return text.replace(" ", "␣").replace("\n", "⏎")


def bench_the_stream_keeps_its_size(record):
    rows = []
    for layers in (4, 16, 64):
        for scaled in (True, False):
            torch.manual_seed(SEED)
            shape = GPTConfig(65, 32, n_embd=64, n_layer=layers, n_head=4)
            model = GPT(shape)
            if not scaled:
                for name, p in model.named_parameters():
                    if name.endswith("c_proj.weight"):
                        torch.nn.init.normal_(p, std=0.02)
            with torch.no_grad():  # a larger width makes the sum visible
                for name, p in model.named_parameters():
                    if p.ndim == 2 and ".h." in name:
                        p.mul_(math.sqrt(768 / 64))
                ids = torch.randint(65, (4, 32))
                x = model.transformer.wte(ids)
                for block in model.transformer.h:
                    x = block(x)
            name = "0.02/√(2L)" if scaled else "0.02"
            rows.append((name, layers, x.std().item()))
    record(
        "stream",
        kind="tolerance",
        tolerance=1e-3,
        seed=SEED,
        title="Size of the residual stream after the last block, untrained",
        prediction=(
            "2L independent additions of equal variance make a sum whose "
            "standard deviation grows as √(2L). Dividing each by √(2L) should "
            "keep it the same at every depth."
        ),
        columns={"start": "", "layers": "", "std": ""},
        labels={
            "layers": "layers L",
            "std": "standard deviation of the stream",
            "start": "c_proj starts at",
        },
        rows=rows,
    )


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_what_heads_look_at(record, prompt="First Citizen:\n"):
    text = data.text("tiny_shakespeare")
    vocabulary = data.CharVocabulary(text)
    ids, _ = data.split(vocabulary.encode(text))
    torch.set_num_threads(1)
    parts = plain(MINI, steps=1000)
    trained(*parts, ids)
    model = GPT(MINI.shape)
    model.load_state_dict(parts[0].state_dict())
    shown_ids = vocabulary.encode(prompt)[None]
    rows = []
    with torch.no_grad():
        net = model.transformer
        x = net.wte(shown_ids) + net.wpe(torch.arange(len(prompt)))
        for layer, block in enumerate(net.h):
            weights = block.attn.weights(block.ln_1(x))[0]
            shown_here = layer in (0, len(net.h) - 1)  # first and last
            for head, matrix in enumerate(weights if shown_here else []):
                name = f"layer {layer + 1} head {head + 1}"
                rows += [
                    (name, i, j, round(matrix[i, j].item(), 4))
                    for i in range(len(prompt))
                    for j in range(i + 1)
                ]
            x = block(x)
    record(
        "heads",
        kind="trained",
        example="where the heads of one small model look",
        seeds=(SEED,),
        spread={"weight": None},
        title=f"Who looks at whom in {shown(prompt)!r}, after 1,000 steps",
        prediction=(
            "Some heads of the first layer should settle on the character "
            "just before, because pairs are the easiest gain; deeper ones "
            "should spread over the word, or rest on its first letter."
        ),
        columns={"head": "", "query": "", "key": "", "weight": ""},
        rows=rows,
    )
