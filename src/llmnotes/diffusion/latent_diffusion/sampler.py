"""How Stable Diffusion walks: what its scheduler's file says of the steps.

    num_train_timesteps = T
    beta_start, beta_end = β_1, β_T
    prediction_type     = what the network was trained to say
    timestep_spacing    = which of the T steps are visited
    steps_offset        = by how much all of them are shifted
    set_alpha_to_one    = whether the last step ends in the clean picture
                          (t = 0), or in the first step's trace of noise

A file names the sampler that its authors liked; ours is DDIM, whose family
all of them belong to. Names and defaults are those of diffusers.

Sources
- Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion
  Models", arXiv 2112.10752, appendix D.2.
- diffusers 0.42: `DDIMScheduler`, scheduler_config.json.
"""

from dataclasses import dataclass
from pathlib import Path

from llmnotes import foreign
from llmnotes.checks import check_sizes
from llmnotes.diffusion.ddim import leading, linspace, trailing
from llmnotes.diffusion.ddpm import (
    Data,
    Noise,
    Schedule,
    Target,
    Velocity,
    cosine,
    linear,
    scaled_linear,
)

FILE = "scheduler_config.json"
BETAS = {"linear": linear, "scaled_linear": scaled_linear}
COSINE = "squaredcos_cap_v2"
TARGETS = {"epsilon": Noise, "v_prediction": Velocity, "sample": Data}
SPACINGS = {"leading": leading, "trailing": trailing, "linspace": linspace}
ASSUMED = {
    "clip_sample": (False,),  # latents have no bounds
    "rescale_betas_zero_snr": (False,),
    "thresholding": (False,),
    "trained_betas": (None,),
}


@dataclass(frozen=True)
class SamplerConfig:
    """What a scheduler_config.json says.

    Raises `ValueError` naming the field that cannot be.
    """

    num_train_timesteps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: str = "linear"
    prediction_type: str = "epsilon"
    timestep_spacing: str = "leading"
    steps_offset: int = 0
    set_alpha_to_one: bool = True

    def __post_init__(self):
        check_sizes(num_train_timesteps=self.num_train_timesteps)
        check_sizes(0, steps_offset=self.steps_offset)
        check_known("beta_schedule", self.beta_schedule, [*BETAS, COSINE])
        check_known("prediction_type", self.prediction_type, TARGETS)
        check_known("timestep_spacing", self.timestep_spacing, SPACINGS)

    def schedule(self) -> Schedule:
        """How much noise there is at each step."""
        if self.beta_schedule == COSINE:
            return Schedule(cosine(self.num_train_timesteps))
        betas = BETAS[self.beta_schedule]
        ends = self.beta_start, self.beta_end
        return Schedule(betas(self.num_train_timesteps, *ends))

    def target(self) -> Target:
        """What the network was trained to say."""
        return TARGETS[self.prediction_type]()

    def times(self, steps: int) -> list[int]:
        """The steps to visit, counted from 1, and where the last one ends.

        Raises `ValueError` for more steps than there are, or none.
        """
        last = self.num_train_timesteps
        offset = self.steps_offset
        offset *= self.timestep_spacing == "leading"  # others have none
        spread = SPACINGS[self.timestep_spacing](last, steps)
        end = 0 if self.set_alpha_to_one else 1
        found = (min(t + offset, last) for t in spread)
        return [*dict.fromkeys(t for t in found if t > end), end]


def check_known(name: str, got: str, known) -> None:
    """Raise `ValueError` unless a word is a known one."""
    if got not in known:
        raise ValueError(
            f"{name}: got {got!r}, expected one of {', '.join(known)}"
        )


def read_sampler(folder: str | Path) -> SamplerConfig:
    """Read scheduler_config.json; `ValueError` for what we do not compute."""
    path = Path(folder) / FILE
    given = foreign.read_json(path)
    return foreign.shape(path, given, SamplerConfig, assumed=ASSUMED)
