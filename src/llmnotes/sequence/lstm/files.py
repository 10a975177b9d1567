"""A trained LSTM at work: the speech detector silero-vad, rebuilt.

The weights come from the `silero-vad` wheel (its TorchScript file); the
network is ours. It says of every 32 ms of sound how likely it is speech.

    samples   = 16,000 per second; a chunk is 512 of them
    context   = the last 64 samples of the chunk before, put in front
    spectrum  = magnitudes of 129 frequencies in 4 windows of 256 samples
    state     = h, c of one LSTM cell, carried from chunk to chunk

Sources
- Silero Team, "Silero VAD", github.com/snakers4/silero-vad, the file
  silero_vad.jit of the wheel `silero-vad` 6.2 (MIT).
"""

import importlib.util
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes import foreign
from llmnotes.checks import checked
from llmnotes.sequence.lstm.model import lstm_cell

RATE, CHUNK, CONTEXT = 16_000, 512, 64
WINDOW, HOP = 256, 128
STRIDES = 1, 2, 2, 1
FILE = "data/silero_vad.jit"  # not the .safetensors: other weights
PREFIX = "_model."  # `_model_8k.` is a second network, for 8,000 Hz


def weights_file() -> Path:
    """Return the path of the installed TorchScript file.

    Raises `FileNotFoundError` saying what to install.
    """
    found = importlib.util.find_spec("silero_vad")
    path = Path(found.origin).parent / FILE if found else None
    if path is None or not path.is_file():
        raise FileNotFoundError(
            f"silero-vad: {FILE} is not installed; its weights come with "
            "`pip install silero-vad`"
        )
    return path


def load_silero() -> "Silero":
    """Return the detector with silero-vad's weights, in evaluation mode.

    Raises `FileNotFoundError` if the wheel is missing and `ValueError` if
    its file holds another network.
    """
    path, model = weights_file(), Silero()
    try:
        found = torch.jit.load(str(path), map_location="cpu").state_dict()
    except RuntimeError as error:
        raise foreign.unreadable(path, error) from None
    foreign.put(model, found, path, rename=rename)
    return model.eval()


def rename(name: str) -> str | None:
    """The file's name of a tensor -> ours; None for the other network."""
    if not name.startswith(PREFIX):
        return None
    name = name.removeprefix(PREFIX).replace(".reparam_conv", "")
    name = name.replace("stft.forward_basis_buffer", "basis")
    return name.replace("decoder.decoder.2", "head").replace(
        "decoder.rnn.", ""
    )


class Silero(nn.Module):
    """Spectrum, four convolutions, one LSTM cell, one logistic unit."""

    def __init__(self):
        super().__init__()
        self.register_buffer("basis", torch.zeros(258, 1, WINDOW))
        widths = WINDOW // 2 + 1, 128, 64, 64, 128
        self.encoder = nn.ModuleList(
            nn.Conv1d(a, b, kernel_size=3, stride=stride, padding=1)
            for a, b, stride in zip(widths, widths[1:], STRIDES, strict=False)
        )
        cell = nn.LSTMCell(128, 128)  # its four parameters only
        for name, parameter in cell.named_parameters():
            self.register_parameter(name, parameter)
        self.head = nn.Conv1d(128, 1, kernel_size=1)

    def spectrum(
        self, sound: Float[Tensor, "batch samples"]
    ) -> Float[Tensor, "batch frequency window"]:
        """How strong each frequency is, in windows 8 ms apart."""
        sound = F.pad(sound, (0, CONTEXT), mode="reflect")
        parts = F.conv1d(sound[:, None], self.basis, stride=HOP)
        pair = "batch (part frequency) window -> part batch frequency window"
        return rearrange(parts, pair, part=2).square().sum(0).sqrt()

    def features(
        self, sound: Float[Tensor, "batch samples"]
    ) -> Float[Tensor, "batch input"]:
        """What the LSTM reads of one chunk and its context."""
        if sound.shape[1] != CONTEXT + CHUNK:
            raise ValueError(
                f"sound: got {sound.shape[1]} samples, expected {CONTEXT} of "
                f"the chunk before and {CHUNK}"
            )
        x = self.spectrum(sound)
        for convolution in self.encoder:
            x = convolution(x).relu()
        return rearrange(x, "batch input 1 -> batch input")

    @checked
    def step(
        self,
        sound: Float[Tensor, "batch samples"],
        h: Float[Tensor, "batch hidden"],
        c: Float[Tensor, "batch hidden"],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One chunk: its probability of speech, and h, c."""
        x = self.features(sound)
        h, c = lstm_cell(
            x, h, c, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        )
        logit = self.head(h.relu()[..., None])
        return logit[:, 0, 0].sigmoid(), h, c

    @torch.no_grad()
    def forward(
        self, sound: Tensor, *, memory: bool = True
    ) -> Float[Tensor, "chunks"]:
        """Probability of speech in each chunk; the last one is filled up.

        `sound` is one channel at 16,000 Hz, between -1 and 1. Without
        `memory` every chunk begins with h = c = 0. Raises `ValueError` for
        several channels, no samples and another dtype than the weights'.
        """
        check_sound(sound, self.weight_ih.dtype)
        sound = F.pad(sound, (CONTEXT, -len(sound) % CHUNK))[None]
        h = c = sound.new_zeros(1, 128)
        found = []
        for start in range(0, sound.shape[1] - CONTEXT, CHUNK):
            chunk = sound[:, start : start + CONTEXT + CHUNK]
            p, *state = self.step(chunk, h, c)
            h, c = state if memory else (h, c)
            found.append(p)
        return torch.cat(found)


def check_sound(sound: Tensor, dtype: torch.dtype) -> None:
    """Raise `ValueError` unless it is one channel of samples in dtype."""
    if not isinstance(sound, Tensor):
        raise ValueError(
            f"sound: got {type(sound).__name__}, expected a tensor"
        )
    if sound.ndim != 1 or not len(sound):
        raise ValueError(
            f"sound: got shape {tuple(sound.shape)}, expected (samples,): one "
            "channel and no batch"
        )
    if sound.dtype != dtype:
        how = "" if sound.is_floating_point() else ", from -1 to 1"
        raise ValueError(f"sound: got {sound.dtype}, expected {dtype}{how}")


def tone(seconds: float, hertz: float = 440.0) -> Float[Tensor, "samples"]:
    """Return a sine."""
    t = torch.arange(int(RATE * seconds)) / RATE
    return 0.5 * torch.sin(2 * math.pi * hertz * t)


def vowel(
    seconds: float, formants: tuple[float, ...], hertz: float = 120.0
) -> Float[Tensor, "samples"]:
    """Return a voice-like sound: harmonics, strongest near the formants.

    The pitch wavers a little, as a voice does, and the sound swells and
    fades.
    """
    n = int(RATE * seconds)
    t = torch.arange(n, dtype=torch.float64) / RATE
    pitch = hertz * (1 + 0.03 * torch.sin(2 * math.pi * 5 * t))
    phase = 2 * math.pi * pitch.cumsum(0) / RATE
    sound = torch.zeros(n, dtype=torch.float64)
    for k in range(1, int(6000 / hertz)):
        gain = sum(
            0.6**m / (1 + ((k * hertz - centre) / 90) ** 2)
            for m, centre in enumerate(formants)
        )
        sound += gain * torch.sin(k * phase)
    sound *= torch.hann_window(n, dtype=torch.float64).sqrt()
    return (0.4 * sound / sound.abs().max()).float()
