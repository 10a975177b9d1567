"""The models: parts, pasts, padding, packed rows, published shapes."""

from dataclasses import replace

import pytest
import torch
import transformers as hf

from llmnotes.models.kv_cache import generate
from llmnotes.models.mamba import (
    MAMBA_1_4B,
    MAMBA_2_8B,
    MAMBA_130M,
    MAMBA_370M,
    MAMBA_790M,
    FixedMamba,
    Mamba,
    Mamba2,
    Mamba2Config,
    MambaConfig,
    QuickMamba,
)
from llmnotes.models.mamba.model import convolve, new_steps
from llmnotes.transformer.gpt import generate as recompute
from llmnotes.transformer.gpt import left_padded
from tests.models.llama.tiny import scatter
from tests.models.mamba.tiny import FAMILY, VOCAB, ids

OURS = {"mamba": (MambaConfig, Mamba), "mamba2": (Mamba2Config, Mamba2)}


def ours(name, build=None):
    config, usual = OURS[name[0]]
    torch.manual_seed(0)
    model = (build or usual)(config(**FAMILY[name]))
    return scatter(model).double().eval()


@pytest.fixture(params=FAMILY, ids=" ".join)
def model(request):
    return ours(request.param)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


PUBLISHED = {
    129_135_360: MAMBA_130M,
    371_516_416: MAMBA_370M,
    793_204_224: MAMBA_790M,
    1_372_178_432: MAMBA_1_4B,
    2_768_345_600: MAMBA_2_8B,
}


@pytest.mark.parametrize("count", PUBLISHED)
def test_published_shapes_have_their_parameters(count):
    shapes = []
    for layers in (1, 2):
        config = replace(PUBLISHED[count], num_hidden_layers=layers)
        with torch.device("meta"):
            model = Mamba(config)
        shapes.append(sum(p.numel() for p in model.parameters()))
    layer = shapes[1] - shapes[0]
    layers = PUBLISHED[count].num_hidden_layers
    assert shapes[0] + (layers - 1) * layer == count


@pytest.mark.parametrize("cuts", [(1,), (3, 4, 9)])
def test_after_any_split_the_logits_are_those_of_the_whole(model, cuts):
    text, past, parts = ids(), model.cache_for(11), []
    edges = [0, *cuts, 11]
    for low, high in zip(edges, edges[1:], strict=False):
        parts.append(model(text[:, low:high], past=past))
    close(torch.cat(parts, 1), model(text))
    assert past.length == 11


def test_a_step_is_a_column_of_the_whole(model):
    text, past = ids(), model.cache_for(11)
    whole = model(text)
    for t in range(11):
        close(model.step(text[:, t], past), whole[:, t])


def test_what_is_kept_does_not_grow(model):
    past, sizes = model.cache_for(1), set()
    for length in (1, 5, 100):
        model(ids(length), past=past)
        sizes.add(past.nbytes)
    assert len(sizes) == 1


def test_a_token_sees_what_is_before_it_and_all_of_that(model):
    text = ids(9)
    other = text.clone()
    other[:, 4] = (other[:, 4] + 1) % VOCAB
    changed = (model(other) - model(text)).abs().amax((0, 2)) > 0
    assert changed.tolist() == [False] * 4 + [True] * 5


def test_a_padded_row_has_the_logits_it_has_alone(model):
    texts = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5]]
    rows, mask = left_padded(texts, pad=7)
    for cut in (5, 3, 1):
        past = model.cache_for(5)
        parts = [
            model(rows[:, :cut], mask[:, :cut], past=past),
            *([model(rows[:, cut:], mask, past=past)] if cut < 5 else []),
        ]
        logits = torch.cat(parts, 1)
        for row, text in enumerate(texts):
            alone = model(torch.tensor([text]))[0]
            close(logits[row, -len(text) :], alone)


def test_texts_in_a_row_do_not_know_each_other(model):
    text = ids(12, 1)
    first = torch.zeros(1, 12, dtype=torch.bool)
    first[0, [5, 6]] = True
    logits = model(text, first=first)
    for low, high in ((0, 5), (5, 6), (6, 12)):
        close(logits[:, low:high], model(text[:, low:high]))
    past = model.cache_for(12)
    parts = [
        model(text[:, at], first=first[:, at], past=past)
        for at in (slice(0, 3), slice(3, 12))
    ]
    close(torch.cat(parts, 1), logits)


def test_a_cached_batch_writes_what_each_prompt_writes_alone(model):
    rows, mask = left_padded([[3, 1, 4], [9]], pad=7)
    both = generate(model, rows, 5, lengths=mask.sum(1), temperature=0)
    for row, text in enumerate(([3, 1, 4], [9])):
        alone = recompute(model, torch.tensor([text]), 5, temperature=0)
        assert both[row, -5 - len(text) :].tolist() == alone[0].tolist()


def test_the_compiled_model_has_the_same_weights_and_logits():
    name = ("mamba", "tied")
    plain, quick = ours(name), ours(name, QuickMamba)
    assert plain.state_dict().keys() == quick.state_dict().keys()
    close(plain(ids()), quick(ids()))


def test_without_selection_tokens_pass_the_scan_alike():
    model = ours(("mamba", "tied"), FixedMamba)
    mixer = model.backbone.layers[0].mixer
    u = torch.randn(2, 6, mixer.config.inner, dtype=torch.float64)
    for part in mixer.selected(u):
        assert torch.equal(part, part[:, :1].expand_as(part))
    scan = mixer.selected(u)
    A = -torch.exp(mixer.A_log)

    def go(u):
        return mixer.scan(u, scan[0], A, *scan[1:])[0]

    close(go(u + 2 * u.flip(0)), go(u) + 2 * go(u.flip(0)))  # linear
    later = torch.cat([torch.zeros_like(u[:, :1]), u[:, :-1]], 1)
    close(go(later)[:, 1:], go(u)[:, :-1])  # and the same at any time


def test_the_convolution_is_pytorch_s():
    draws = torch.Generator().manual_seed(0)
    u = torch.randn(2, 7, 3, generator=draws)
    conv = torch.nn.Conv1d(3, 3, 4, groups=3, padding=3)
    out, window = convolve(u, conv.weight, conv.bias)
    torch.testing.assert_close(out, conv(u.mT)[..., :7].mT)
    assert torch.equal(window, u[:, -3:])
    short = convolve(u[:, :1], conv.weight, conv.bias)[1]
    assert torch.equal(short[:, :2], torch.zeros(2, 2, 3))


def test_steps_start_where_the_config_says():
    torch.manual_seed(0)
    config = MambaConfig(**FAMILY["mamba", "tied"], time_step_max=0.01)
    layers = Mamba(config).backbone.layers
    for layer in layers:
        delta = torch.nn.functional.softplus(layer.mixer.dt_proj.bias)
        assert delta.min() > 0.00099
        assert delta.max() < 0.0101
        rates = layer.mixer.A_log.exp()
        assert rates[0].tolist() == pytest.approx([1, 2, 3, 4, 5])


def test_a_long_step_starts_behind_softplus_too():
    config = MambaConfig(time_step_min=1.5, time_step_max=1.5)
    delta = torch.nn.functional.softplus(new_steps(config, 3))
    assert delta.tolist() == pytest.approx([1.5] * 3)


def test_embeddings_and_the_way_back_start_as_theirs():
    config = MambaConfig(num_hidden_layers=4, hidden_size=64)
    torch.manual_seed(0)
    model = Mamba(config)
    std = model.backbone.embeddings.weight.std().item()
    assert std == pytest.approx(hf.MambaConfig().initializer_range, rel=0.02)
    for layer in model.backbone.layers:
        inner, out = layer.mixer.config.inner, layer.mixer.out_proj.weight
        most = inner**-0.5 / 4**0.5  # nn.Linear's bound over √layers
        assert most * 0.98 < out.abs().max() <= most


def test_mamba2_starts_with_a_pace_for_each_head():
    config = Mamba2Config(
        *(11, 32), num_heads=16, head_dim=4, num_hidden_layers=4
    )
    torch.manual_seed(0)
    model = Mamba2(config)
    for layer in model.backbone.layers:
        rates, out = layer.mixer.A_log.exp(), layer.mixer.out_proj.weight
        assert rates.tolist() == pytest.approx([*range(1, 17)])
        most = config.inner**-0.5 / 4**0.5  # nn.Linear's bound over √layers
        assert most * 0.98 < out.abs().max() <= most


def test_half_precision_stays_near():
    model = ours(("mamba", "tied"))
    expected = model(ids())
    for dtype, bound in ((torch.bfloat16, 0.1), (torch.float16, 0.02)):
        logits = ours(("mamba", "tied")).to(dtype)(ids())
        assert logits.dtype == dtype
        error = (logits - expected).abs().max() / expected.abs().max()
        assert error < bound


REFUSED = {
    "vocab_size: got 0, expected at least 1": dict(vocab_size=0),
    "state_size: got -1, expected at least 1": dict(state_size=-1),
    "conv_kernel: got 0, expected at least 1": dict(conv_kernel=0),
    "time_step_rank: got half, expected an integer": (
        dict(time_step_rank="half")
    ),
    "layer_norm_epsilon: got 0, expected more than 0": (
        dict(layer_norm_epsilon=0)
    ),
    "time_step_max: got 0.01, expected at least time_step_min = 0.1": (
        dict(time_step_min=0.1, time_step_max=0.01)
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_shape_that_cannot_be_is_refused(message):
    with pytest.raises(ValueError) as error:
        MambaConfig(**REFUSED[message])
    assert str(error.value) == message


def test_heads_that_cannot_be_are_refused():
    name = FAMILY["mamba2", "two groups"]
    cases = {
        "num_heads * head_dim: got 20, expected expand * hidden_size = 24": (
            dict(num_heads=5)
        ),
        "n_groups: got 4, expected a divisor of num_heads = 6": (
            dict(n_groups=4)
        ),
        r"time_step_limit: got \(1, 0\), expected two numbers, 0": (
            dict(time_step_limit=(1, 0))
        ),
    }
    for message, change in cases.items():
        with pytest.raises(ValueError, match=message.replace("*", r"\*")):
            Mamba2Config(**name | change)


def test_ids_and_masks_that_cannot_be_are_refused(model):
    with pytest.raises(ValueError, match="ids: got 0 to 31, expected 0 to 30"):
        model(torch.tensor([[0, VOCAB]]))
    mask = torch.ones(2, 10, dtype=torch.bool)
    with pytest.raises(ValueError, match="mask: got length 10, expected 11"):
        model(ids(), mask)
    right = torch.ones(2, 11, dtype=torch.bool)
    right[1, -2:] = False
    with pytest.raises(ValueError, match="mask: got"):
        model(ids(), right)
    past = model.cache_for(12)
    model(ids(), past=past)
    with pytest.raises(ValueError, match="past: got 2 texts, expected 3"):
        model(ids(1, 3), past=past)
    with pytest.raises(ValueError, match="first: got length 3, expected ids'"):
        model(ids(), first=torch.ones(2, 3, dtype=torch.bool))


def test_a_limit_below_zero_is_refused():
    with pytest.raises(ValueError, match="time_step_limit: got"):
        Mamba2Config(time_step_limit=(-0.1, 1.0))
