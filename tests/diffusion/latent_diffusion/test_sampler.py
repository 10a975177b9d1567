"""The steps and noise levels that a scheduler's file asks for."""

import json

import pytest
import torch
from diffusers import DDIMScheduler

from llmnotes.diffusion.ddpm import Data, Noise, Velocity
from llmnotes.diffusion.latent_diffusion.sampler import (
    SamplerConfig,
    read_sampler,
)
from tests.diffusion.latent_diffusion.pipelines import SD1

KINDS = {
    "Stable Diffusion 1": SD1,
    "to the clean picture": SD1 | dict(set_alpha_to_one=True),
    "no offset": SD1 | dict(steps_offset=0),
    "trailing": SD1 | dict(timestep_spacing="trailing"),
    "linspace": SD1 | dict(timestep_spacing="linspace"),
    "linear": dict(beta_schedule="linear"),
    "cosine": dict(beta_schedule="squaredcos_cap_v2"),
}


def their(kind):
    return DDIMScheduler(**KINDS[kind], clip_sample=False)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_levels_and_steps_are_those_of_the_file(kind, tmp_path):
    theirs = their(kind)
    theirs.save_pretrained(tmp_path)
    ours = read_sampler(tmp_path)
    bar = ours.schedule().alphas[1:].square().float()
    torch.testing.assert_close(bar, theirs.alphas_cumprod, rtol=1e-4, atol=0)
    for steps in (2, 7, 50):
        theirs.set_timesteps(steps)
        times = ours.times(steps)
        assert times[-1] == (0 if theirs.config.set_alpha_to_one else 1)
        expected = [int(t) + 1 for t in theirs.timesteps]
        assert times[:-1] == [t for t in expected if t > times[-1]]


def test_the_published_file_is_read(tmp_path):
    """PNDM is what its authors liked; noise levels are all we take."""
    given = SD1 | {
        "_class_name": "PNDMScheduler",
        "num_train_timesteps": 1000,
        "skip_prk_steps": True,
        "trained_betas": None,
        "clip_sample": False,
    }
    (tmp_path / "scheduler_config.json").write_text(json.dumps(given))
    ours = read_sampler(tmp_path)
    assert ours == SamplerConfig(**SD1)
    assert ours.times(50)[:2] == [982, 962]
    assert ours.times(50)[-2:] == [2, 1]
    alpha = ours.schedule().alphas[-1]  # noise is not all there is at T
    assert float(alpha) == pytest.approx(0.004660**0.5, rel=1e-3)


def test_targets_have_their_names():
    for name, kind in (
        ("epsilon", Noise),
        ("v_prediction", Velocity),
        ("sample", Data),
    ):
        assert isinstance(SamplerConfig(prediction_type=name).target(), kind)


SPOILED = {
    "clip_sample: got True, expected False": dict(clip_sample=True),
    "thresholding: got True, expected False": dict(thresholding=True),
    "trained_betas: got [0.1], expected None": dict(trained_betas=[0.1]),
    "rescale_betas_zero_snr: got True, expected False": (
        dict(rescale_betas_zero_snr=True)
    ),
    "beta_schedule: got 'sigmoid', expected one of linear, scaled_linea": (
        dict(beta_schedule="sigmoid")
    ),
    "prediction_type: got 'flow', expected one of epsilon, v_prediction, ": (
        dict(prediction_type="flow")
    ),
    "timestep_spacing: got 'even', expected one of leading, trailing": (
        dict(timestep_spacing="even")
    ),
    "steps_offset: got -1, expected at least 0": dict(steps_offset=-1),
    "num_train_timesteps: got 0, expected at least 1": (
        dict(num_train_timesteps=0)
    ),
}


@pytest.mark.parametrize("message", SPOILED)
def test_what_we_do_not_compute_is_refused_by_name(message, tmp_path):
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps(SD1 | SPOILED[message]))
    with pytest.raises(ValueError) as error:
        read_sampler(tmp_path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_more_steps_than_there_are_are_refused():
    with pytest.raises(
        ValueError, match="steps: got 1001, expected 1 to 1000"
    ):
        SamplerConfig().times(1001)
