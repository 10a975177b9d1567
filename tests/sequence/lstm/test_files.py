"""The rebuilt speech detector against the file it takes its weights from."""

import functools
import importlib.util

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from llmnotes.sequence.lstm import LSTM, lstm_cell, lstm_parameters
from llmnotes.sequence.lstm import files as silero
from llmnotes.sequence.lstm.files import RATE, Silero, load_silero, tone, vowel

VOWELS = (730.0, 1090.0, 2440.0), (270.0, 2290.0, 3010.0)  # a, i


@functools.cache
def theirs():
    """silero-vad's own network."""
    return torch.jit.load(str(silero.weights_file())).eval()


def sound():
    """A tone, noise, two vowels, silence; not a multiple of a chunk."""
    torch.manual_seed(0)
    vowels = [vowel(0.3, formants) for formants in VOWELS]
    noise = 0.1 * torch.randn(RATE // 4)
    return torch.cat([tone(0.3), noise, *vowels, torch.zeros(1001)])


@torch.no_grad()
def their_probabilities(samples):
    theirs().reset_states()
    chunks = F.pad(samples, (0, -len(samples) % 512)).split(512)
    return torch.cat([theirs()(chunk[None], RATE)[0] for chunk in chunks])


def test_every_probability_equals_that_of_the_file():
    got, expected = load_silero()(sound()), their_probabilities(sound())
    assert got.shape == expected.shape
    assert expected.min() < 0.05 and expected.max() > 0.9
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


def test_the_safetensors_file_beside_it_holds_other_weights():
    path = silero.weights_file().with_name("silero_vad_16k.safetensors")
    theirs, ours = load_file(str(path)), load_silero().state_dict()
    theirs = {k.removeprefix("lstm_cell."): v for k, v in theirs.items()}
    for name in ("weight_ih", "weight_hh"):
        assert theirs[name].shape == ours[name].shape
        assert (theirs[name] - ours[name]).abs().max() > 0.5


def test_the_cell_equals_the_files_cell():
    torch.manual_seed(0)
    cell = theirs()._model.decoder.rnn
    x, h, c = torch.randn(3, 5, 128)
    got = lstm_cell(x, h, c, *cell.parameters())
    torch.testing.assert_close(got, cell(x, (h, c)))


def test_the_trained_cell_read_as_a_layer_gives_the_same():
    torch.manual_seed(0)
    cell = theirs()._model.decoder.rnn
    layer, x = LSTM(128, 128), torch.randn(2, 9, 128)
    state = {f"{name}_l0": p for name, p in cell.named_parameters()}
    layer.load_state_dict(state)
    h = c = torch.zeros(2, 128)
    out, _ = layer(x)
    for t in range(9):
        h, c = cell(x[:, t], (h, c))
        torch.testing.assert_close(out[:, t], h)


def test_parameters_are_those_of_the_formula():
    model = Silero()
    cell = [
        p for n, p in model.named_parameters() if n[:4] in ("weig", "bias")
    ]
    assert sum(p.numel() for p in cell) == lstm_parameters(128, 128) == 132_096
    total = sum(t.numel() for t in model.state_dict().values())
    assert total == 309_633


def test_vowels_are_speech_and_tones_and_noise_are_not():
    torch.manual_seed(0)
    model = load_silero()
    speech = torch.cat([vowel(0.3, formants) for formants in VOWELS])
    assert model(speech)[10:].min() > 0.9  # after a third of a second
    for other in (tone(1.0), 0.1 * torch.randn(RATE), torch.zeros(RATE)):
        assert model(other).max() < 0.1


def test_without_its_memory_it_answers_otherwise():
    model = load_silero()
    with_memory, without = model(sound()), model(sound(), memory=False)
    torch.testing.assert_close(with_memory[0], without[0])
    assert (with_memory - without).abs().max() > 0.3


def test_no_wheel_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install silero-vad"):
        load_silero()


@pytest.mark.parametrize("broken", ["text", "other network"])
def test_another_file_is_refused_by_name(monkeypatch, tmp_path, broken):
    path = tmp_path / "silero_vad.jit"
    if broken == "text":
        path.write_text("no network")
    else:
        torch.jit.script(nn.Linear(2, 3)).save(str(path))
    monkeypatch.setattr(silero, "weights_file", lambda: path)
    with pytest.raises(ValueError, match="silero_vad.jit"):
        load_silero()


BAD = {
    "sound: got shape (1, 900), expected (samples,)": torch.zeros(1, 900),
    "sound: got shape (2, 900), expected (samples,)": torch.zeros(2, 900),
    "sound: got shape (0,), expected (samples,)": torch.zeros(0),
    "sound: got shape (), expected (samples,)": torch.zeros(()),
    "sound: got torch.int16, expected torch.float32, from -1 to 1": (
        torch.zeros(900, dtype=torch.int16)
    ),
    "sound: got torch.float64, expected torch.float32": (
        torch.zeros(900).double()
    ),
}


@pytest.mark.parametrize(("message", "samples"), BAD.items())
def test_channels_emptiness_and_integers_are_named(message, samples):
    with pytest.raises(ValueError) as error:
        Silero()(samples)
    assert str(error.value).startswith(message)


def test_a_step_names_a_chunk_without_its_context():
    model, state = Silero(), torch.zeros(2, 128)
    assert model.step(torch.zeros(2, 576), state, state)[0].shape == (2,)
    with pytest.raises(ValueError, match="^sound: got 512 samples"):
        model.step(torch.zeros(2, 512), state, state)
    with pytest.raises(ValueError, match="^h: got batch 3, expected sound's"):
        model.step(torch.zeros(2, 576), torch.zeros(3, 128), state)
