"""How a small GPT learns to write: its loss, and its text on the way."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from llmnotes import data, presets, train
from llmnotes.transformer.gpt import GPT, MINIGPT, generate, next_distribution

SEED = 0
EVERY = 50
SHOWN = (0, 50, 100, 250, 500, 1000, 2000, 4000)
LENGTH = 160
TEMPERATURE = 0.8
OPENINGS = "Second Murderer:\nWhat s", "KING RICHARD III:\nO, wh"


@dataclass(frozen=True, eq=False)
class Writing(train.LanguageModelling):
    """The task of a text that also lets the model write when it is judged."""

    vocabulary: data.CharVocabulary
    texts: list[str] = field(default_factory=list)

    def evaluate(self, model):
        """The loss; a text for each evaluation that is shown."""
        loss = super().evaluate(model)
        self.texts.append(write(model, self.vocabulary))
        return loss


def write(model, vocabulary):
    """A text of the model, begun with the end of a line."""
    drawn = torch.Generator().manual_seed(SEED)
    ids = generate(
        model,
        vocabulary.encode("\n")[None],
        LENGTH,
        generator=drawn,
        temperature=TEMPERATURE,
    )
    return vocabulary.decode(ids[0, 1:])


def next_characters(model, vocabulary):
    """Each opening's characters, the likeliest first, with their chance."""
    for opening in OPENINGS:
        ids = vocabulary.encode(opening)[None, -MINIGPT.n_positions :]
        with torch.no_grad():
            chance = next_distribution(model.eval()(ids)[:, -1])[0]
        order = chance.argsort(descending=True, stable=True)
        for i in order.tolist():
            yield opening, vocabulary.symbols[i], chance[i].item()


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_a_small_gpt_learns_to_write(record):
    torch.set_num_threads(1)
    text = data.text("tiny_shakespeare")
    vocabulary = data.CharVocabulary(text)
    ids, other = data.split(vocabulary.encode(text))
    config = presets.model("gpt").preset("minigpt").training
    config = replace(config, eval_every=EVERY, seed=SEED)
    torch.manual_seed(SEED)
    model = GPT(MINIGPT)
    task = Writing(ids, other, config, vocabulary)
    with_start = [train.judge(model, task)]
    history = train.fit(model, task, config, progress=False)
    losses = with_start + [row.validation_loss for row in history]
    steps = [0, *(row.step for row in history)]
    texts = dict(zip(steps, task.texts, strict=True))
    record(
        "loss",
        kind="trained",
        example="how one small model learns to write",
        seeds=[SEED],
        spread={"loss": 0.05},
        title="Validation loss of miniGPT, every 50 steps",
        prediction=(
            "It begins at ln 65 = 4.17, a guess among all characters alike, "
            "falls within some hundred steps to the 2.5 of counting pairs, "
            "and ends near 1.9."
        ),
        columns={"step": "", "loss": "nat"},
        labels={"loss": "validation loss"},
        rows=list(zip(steps, losses, strict=True)),
    )
    record(
        "texts",
        kind="trained",
        example="what one small model writes",
        seeds=[SEED],
        spread={"text": None},
        title=f"What it writes at temperature {TEMPERATURE}",
        prediction=(
            "Noise at step 0; then letters as often as in English; then "
            "names, colons and short words; at the end lines of a play, "
            "spelled right and without sense."
        ),
        columns={"step": "", "text": ""},
        rows=[(step, texts[step]) for step in SHOWN],
    )
    record(
        "next",
        kind="trained",
        example="what one small model expects next",
        seeds=[SEED],
        spread={"chance": None, "character": None},
        title="The next character after two openings, likeliest first",
        prediction=(
            "After a letter that begins many words several characters share "
            "the chance; after one that begins few, one takes most of it."
        ),
        columns={"opening": "", "character": "", "chance": ""},
        labels={"chance": "probability"},
        rows=list(next_characters(model, vocabulary)),
    )
