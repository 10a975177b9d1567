"""The models that the command line trains, and the presets of each.

    MODELS = name on the command line and in a checkpoint -> Model
    preset = a shape, named like a constant of the model's module, with the
             training that suits it; the first one is the default

PICTURES = the same for models of pictures, which need no text

One more model is one more entry. Objects are named `module:name`, for
`pkgutil.resolve_name`: no torch in here, `llmnotes --help` must not wait.
FOLDERS are the architectures whose files, as others wrote them, are opened.
"""

from dataclasses import dataclass, replace
from typing import Any

from llmnotes.train_config import TrainConfig


@dataclass(frozen=True)
class Preset:
    """A shape and its training."""

    shape: str
    training: TrainConfig


@dataclass(frozen=True)
class Model:
    """A language model: where its classes are, and its presets.

    `config` is a frozen dataclass with a field `vocab_size`; `build` makes
    the model of a config, with a property `n_positions`. `quick`, where there
    is one, has the same weights and knows float32 on the CPU only; `task` is
    what it learns from a text.
    """

    about: str
    config: str
    build: str
    presets: dict[str, Preset]
    quick: str = ""
    task: str = "llmnotes.train:LanguageModelling"

    def preset(self, name: str | None) -> Preset:
        """A preset by name, the first one for None."""
        return known(
            "--preset", name or next(iter(self.presets)), self.presets
        )


@dataclass(frozen=True)
class Pictures:
    """A model of pictures: the module that trains it, and its presets.

    `studio` names a module with the functions of `llmnotes.draw.Studio`.
    """

    about: str
    studio: str
    presets: dict[str, Preset]

    def preset(self, name: str | None) -> Preset:
        """A preset by name, the first one for None."""
        return known(
            "--preset", name or next(iter(self.presets)), self.presets
        )


def model(name: object) -> Model:
    """A model by what a checkpoint says; `ValueError` lists the known ones."""
    return known("model", name, MODELS)


def known(what: str, name: object, table: dict[str, Any]) -> Any:
    """The entry of a table; `ValueError` if there is none."""
    if not isinstance(name, str) or name not in table:
        raise ValueError(
            f"{what}: got {name!r}, expected one of {', '.join(table)}"
        )
    return table[name]


SMALL = TrainConfig(
    learning_rate=2e-3, min_learning_rate=2e-4, warmup=50, betas=(0.9, 0.98)
)


def on_a_laptop(module: str, name: str, **options) -> Model:
    """A family whose only preset is its small one."""
    training = replace(SMALL, steps=2000, batch_size=12, block=64)
    return Model(
        about=f"{name}'s architecture",
        config=f"{module}:{name}Config",
        build=f"{module}:{name}",
        presets={"laptop": Preset(f"{module}:LAPTOP", training)},
        **options,
    )


GPT = "llmnotes.transformer.gpt"
LLAMA = "llmnotes.models.llama"
MISTRAL = "llmnotes.models.mistral"
MOE = "llmnotes.models.moe"
PHI = "llmnotes.models.phi"
MODELS = {
    "gpt": Model(
        about="GPT-2's architecture",
        config=f"{GPT}:GPTConfig",
        build=f"{GPT}:GPT",
        quick="llmnotes.transformer.training_step:FusedGPT",
        presets={
            "minigpt": Preset(
                f"{GPT}:MINIGPT",
                replace(SMALL, steps=4000, batch_size=16, block=32),
            ),
            "nanogpt_cpu": Preset(
                f"{GPT}:NANOGPT_CPU",
                replace(SMALL, steps=2000, batch_size=12, block=64),
            ),
        },
    ),
    "llama": on_a_laptop(LLAMA, "Llama"),
    "mistral": on_a_laptop(MISTRAL, "Mistral"),
    "mixtral": on_a_laptop(MOE, "Mixtral", task=f"{MOE}:Balanced"),
    "phi": on_a_laptop(PHI, "Phi"),
}
# Whose folders `sample` opens: `model_type` in config.json -> what reads one.
FOLDERS = {
    "gpt2": f"{GPT}:load_gpt2",
    "llama": f"{LLAMA}:from_pretrained",
    "mistral": f"{MISTRAL}:from_pretrained",
    "mixtral": f"{MOE}:from_pretrained",
    "phi": f"{PHI}:from_pretrained",
    "phi3": f"{PHI}:from_pretrained",
}
SHAPES = TrainConfig(
    steps=400,
    batch_size=64,
    learning_rate=6e-3,
    min_learning_rate=0.0,
    schedule="linear",
    warmup=50,
    weight_decay=0.0,
    clip=0.0,
    eval_every=40,
)
# Models of pictures; no torch in here, so a recipe is given by its numbers.
PICTURES = {
    "ddpm": Pictures(
        about="digits out of noise",
        studio="llmnotes.diffusion.guidance.studio",
        presets={
            "digits": Preset(
                "llmnotes.diffusion.guidance.studio:PRESET",
                TrainConfig(
                    steps=3000,
                    batch_size=1,  # its own, 128 pictures
                    learning_rate=1e-2,
                    min_learning_rate=0.0,
                    schedule="linear",
                    betas=(0.9, 0.99),
                    weight_decay=0.0,
                    eval_every=300,
                ),
            )
        },
    ),
    "clip": Pictures(
        about="which caption belongs to which picture of shapes",
        studio="llmnotes.diffusion.clip.studio",
        presets={
            "shapes": Preset(
                "llmnotes.diffusion.clip.task:LAPTOP",
                replace(
                    SHAPES,
                    steps=850,
                    learning_rate=2e-3,
                    warmup=30,
                    eval_every=85,
                ),
            )
        },
    ),
    "glide": Pictures(
        about="coloured shapes that a sentence asks for",
        studio="llmnotes.diffusion.glide.studio",
        presets={
            "one_thing": Preset("llmnotes.diffusion.glide.runs:ONE", SHAPES),
            "two_things": Preset(
                "llmnotes.diffusion.glide.runs:TWO",
                replace(SHAPES, steps=1200, eval_every=120),
            ),
        },
    ),
    "latent": Pictures(
        about="the same in the latents of an autoencoder",
        studio="llmnotes.diffusion.latent_diffusion.studio",
        presets={
            "two_things": Preset(
                "llmnotes.diffusion.latent_diffusion.runs:LATENTS",
                replace(SHAPES, steps=850, eval_every=85),
            ),
        },
    ),
}
