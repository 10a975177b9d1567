"""U-Net and autoencoder on disk, as diffusers writes them.

    config.json                           its shape
    diffusion_pytorch_model.safetensors   its weights, under our names
    assumed = what our networks compute, as far as config.json can say
              otherwise
    OLD     = names of the autoencoder's attention in old files, such as
              those that Stable Diffusion 1 was published in

Sources
- diffusers 0.42: `UNet2DConditionModel`, `AutoencoderKL`,
  `ModelMixin.save_pretrained` and how it reads attention of old files.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmnotes import foreign
from llmnotes.diffusion.latent_diffusion.autoencoder import Autoencoder
from llmnotes.diffusion.latent_diffusion.config import (
    AutoencoderConfig,
    UNetConfig,
)
from llmnotes.diffusion.latent_diffusion.unet import UNet
from llmnotes.models.llama.files import Undrawn

WEIGHTS = "diffusion_pytorch_model.safetensors"
OLD = {
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}
SILU = ("silu", "swish")  # two names for one function
UNET = {
    "_class_name": ("UNet2DConditionModel",),
    "act_fn": SILU,
    "addition_embed_type": (None,),
    "attention_type": ("default",),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "class_embeddings_concat": (False,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "cross_attention_norm": (None,),
    "downsample_padding": (1,),
    "dropout": (0.0,),
    "dual_cross_attention": (False,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "mid_block_only_cross_attention": (None, False),
    "mid_block_scale_factor": (1,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "num_attention_heads": (None,),
    "num_class_embeds": (None,),
    "only_cross_attention": (False,),
    "resnet_out_scale_factor": (1.0,),
    "resnet_skip_time_act": (False,),
    "resnet_time_scale_shift": ("default",),
    "reverse_transformer_layers_per_block": (None,),
    "time_cond_proj_dim": (None,),
    "time_embedding_act_fn": (None,),
    "time_embedding_dim": (None,),
    "time_embedding_type": ("positional",),
    "timestep_post_act": (None,),
    "transformer_layers_per_block": (1,),
    "upcast_attention": (False,),
    "use_linear_projection": (False,),  # Stable Diffusion 2
}
AUTOENCODER = {
    "_class_name": ("AutoencoderKL",),
    "act_fn": SILU,
    "latents_mean": (None,),
    "latents_std": (None,),
    "mid_block_add_attention": (True,),
    "shift_factor": (None,),
    "use_post_quant_conv": (True,),
    "use_quant_conv": (True,),
}


@dataclass(frozen=True)
class Kind:
    """What the config.json of a network of ours must say."""

    config: type
    assumed: Mapping[str, tuple]


KINDS = {
    UNet: Kind(UNetConfig, UNET),
    Autoencoder: Kind(AutoencoderConfig, AUTOENCODER),
}


def read_unet(folder: str | Path) -> UNet:
    """Return the U-Net that lies in `folder`, in evaluation mode.

    Its weights are of torch's default dtype, whatever those of the file.

    Raises `ValueError` naming the file, and all in it that does not fit: no
    such file, a truncated one, another architecture, wrong names or shapes.
    """
    return read(UNet, folder)


def read_autoencoder(folder: str | Path) -> Autoencoder:
    """Return the autoencoder that lies in `folder`; see `read_unet`."""
    return read(Autoencoder, folder)


def save_pretrained(model: UNet | Autoencoder, folder: str | Path) -> None:
    """Write a network so that diffusers' `from_pretrained` reads it."""
    known = asdict(model.config)
    assumed = assumptions(type(model), known)
    fixed = {name: allowed[0] for name, allowed in assumed.items()}
    foreign.save(folder, fixed | known, model.state_dict(), file=WEIGHTS)


def read(network: type, folder: str | Path) -> Any:
    """A network of this class with config and weights of a folder."""
    path = Path(folder) / foreign.CONFIG
    given, kind = foreign.read_json(path), KINDS[network].config
    assumed = assumptions(network, given)
    config = foreign.shape(path, given, kind, assumed=assumed)
    with Undrawn():
        model = network(config)
    foreign.load(model, folder, rename=rename, file=WEIGHTS)
    return model.eval()


def assumptions(network: type, given: Mapping) -> dict[str, tuple]:
    """What fits; an autoencoder has as many blocks as resolutions."""
    assumed = dict(KINDS[network].assumed)
    if network is Autoencoder:
        widths = given.get("block_out_channels")
        count = len(widths) if isinstance(widths, list | tuple) else 1
        assumed["down_block_types"] = (["DownEncoderBlock2D"] * count,)
        assumed["up_block_types"] = (["UpDecoderBlock2D"] * count,)
    return assumed


def rename(name: str) -> str:
    """Their name of a tensor -> ours; the same but for old attention."""
    words = name.split(".")
    if len(words) > 1:
        words[-2] = OLD.get(words[-2], words[-2])
    return ".".join(words)
