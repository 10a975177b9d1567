"""The drawn diagrams: they build, count right, lead somewhere, are legible.

Words are measured in Chromium, on a page with nothing but one figure and the
style sheet, at the widths of a desk and of a phone and in every frame.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from llmnotes._site.figures import (
    attention_heads,
    attention_speed,
    bert,
    drawn,
    flash_attention_cuda,
    forward_mode,
    from_rnn_to_transformer,
    pretraining,
    signs,
    training_step,
    transformer,
    zero,
)
from llmnotes._site.figures.fence import function
from llmnotes._site.figures.pen import Pen
from llmnotes._site.page import Page
from llmnotes.foundations.forward_mode import jvp
from llmnotes.kernels.attention_speed import (
    fused_forward_traffic,
    unfused_forward_traffic,
)
from llmnotes.kernels.flash_attention_cuda.tiling import (
    SHARED_LIMIT,
    forward_tiling,
)
from llmnotes.parallel.zero import Flat, memory
from llmnotes.transformer.bert import BERT_BASE, BertForMaskedLM
from llmnotes.transformer.gpt import GPT, GPT_2_SMALL, parameters
from llmnotes.transformer.transformer import BASE, Transformer

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://example.org/r"
DIAGRAMS = {
    "attention_heads:heads": "transformer/attention.md",
    "transformer:model": "transformer/transformer.md",
    "bert:reading": "transformer/bert.md",
    "gpt:block": "transformer/gpt.md",
    "pretraining:muon": "transformer/pretraining.md",
    "training_step:operations": "transformer/training_step.md",
    "training_step:meetings": "transformer/training_step.md",
    "gpt2_by_hand:memory": "transformer/gpt2_by_hand.md",
    "gpt2_by_hand:step": "transformer/gpt2_by_hand.md",
    "positions:ways": "transformer/positions.md",
    "flash_attention_cuda:block": "kernels/flash_attention_cuda.md",
    "attention_speed:traffic": "kernels/attention_speed.md",
    "forward_mode:dual": "foundations/forward_mode.md",
    "rnn:unrolled": "sequence/rnn.md",
    "lstm:cell": "sequence/lstm.md",
    "gru:cell": "sequence/gru.md",
    "seq2seq:roads": "sequence/seq2seq.md",
    "seq2seq:beam": "sequence/seq2seq.md",
    "ddpm:means": "diffusion/ddpm.md",
    "ddpm:samples": "diffusion/ddpm.md",
    "ddim:digits": "diffusion/ddim.md",
    "ddim:paths": "diffusion/ddim.md",
    "ddim:there": "diffusion/ddim.md",
    "guidance:demo": "diffusion/guidance.md",
    "guidance:line": "diffusion/guidance.md",
    "clip:towers": "diffusion/clip.md",
    "clip:matrix": "diffusion/clip.md",
    "clip:nearest": "diffusion/clip.md",
    "glide:network": "diffusion/glide.md",
    "glide_pictures:samples": "diffusion/glide.md",
    "glide_pictures:misled": "diffusion/glide.md",
    "glide_pictures:filled": "diffusion/glide.md",
    "dalle2:unclip": "diffusion/dalle2.md",
    "dalle2_pictures:ways": "diffusion/dalle2.md",
    "latent_diffusion:stages": "diffusion/latent_diffusion.md",
    "latent_diffusion_pictures:rebuilt": "diffusion/latent_diffusion.md",
    "latent_diffusion_pictures:changed": "diffusion/latent_diffusion.md",
    "checkpointing:ways": "parallel/checkpointing.md",
    "tensor_parallel:mlp": "parallel/tensor_parallel.md",
    "pipeline:stages": "parallel/pipeline.md",
    "pipeline:schedules": "parallel/pipeline.md",
    "gradient_checkpointing:lives": "parallel/gradient_checkpointing.md",
    "data_efficiency:rows": "parallel/data_efficiency.md",
    "gpt2_parallel:layer": "parallel/gpt2_parallel.md",
    "gpt2_parallel:timelines": "parallel/gpt2_parallel.md",
    "s4:forms": "models/s4.md",
    "datasets:pairs": "datasets.md",
    "from_rnn_to_transformer:paths": "from_rnn_to_transformer.md",
    "which_parallelism:mesh": "which_parallelism.md",
    "return_of_recurrence:four": "return_of_recurrence.md",
    "data_parallel:step": "parallel/data_parallel.md",
    "data_parallel:ring": "parallel/data_parallel.md",
    "data_parallel:overlap": "parallel/data_parallel.md",
    "zero:stages": "parallel/zero.md",
    "zero:cut": "parallel/zero.md",
    "mamba:forms": "models/mamba.md",
    "transformer_xl:segments": "models/transformer_xl.md",
    "transformer_xl:shift": "models/transformer_xl.md",
}
STANDING = {  # pictures, or of code that other pages show
    "from_rnn_to_transformer:paths",
    "return_of_recurrence:four",
    "ddpm:means",
    "ddpm:samples",
    "guidance:demo",
    "glide_pictures:samples",
    "datasets:pairs",
    "data_parallel:ring",
    "data_parallel:overlap",
}
WIDTHS = {1280: "wide", 375: "narrow"}

# Words that are drawn, and where; a small overlap is the air of a line.
CROWDED = """() => {
  const found = [];
  for (const svg of document.querySelectorAll("figure svg")) {
    const frame = svg.getBoundingClientRect();
    if (!frame.width) continue;
    const scale = frame.width / svg.viewBox.baseVal.width;
    const words = [...svg.querySelectorAll("text")]
      .map(e => [e, e.getBoundingClientRect()])
      .filter(([e, box]) => box.width && e.textContent.trim());
    words.forEach(([e, a], i) => {
      const say = what => found.push(`${what}: ${e.textContent}`);
      if (parseFloat(getComputedStyle(e).fontSize) * scale < 11.99)
        say("below 12 px");
      if (a.left < frame.left - 1 || a.right > frame.right + 1 ||
          a.top < frame.top - 1 || a.bottom > frame.bottom + 1)
        say("outside");
      for (const [other, b] of words.slice(i + 1))
        if (a.left + 1 < b.right && b.left + 1 < a.right &&
            a.top + 3 < b.bottom && b.top + 3 < a.bottom)
          say(`on ${other.textContent}`);
    });
  }
  return found;
}"""
SHOW = """frame => document.querySelectorAll("[data-frame]").forEach(g =>
  g.dataset.frame.split(" ").includes(String(frame))
    ? g.removeAttribute("display") : g.setAttribute("display", "none"))"""


def page_of(name, repository=REPOSITORY):
    config = {"repo_url": repository, "edit_uri": "edit/main/docs/"}
    return Page(DIAGRAMS.get(name, "x.md"), ROOT, config)


def drawing(name):
    return function(name)(page_of(name))


def words_of(pen):
    """All words of a picture, its scripts in line."""
    inside = re.findall(r"<text[^>]*>(.*?)</text>", pen.svg())
    return [re.sub(r"<[^>]*>", "", text) for text in inside]


@pytest.mark.parametrize("name", DIAGRAMS)
def test_both_pictures_say_the_same_numbers(name):
    wide, narrow = (
        set(re.findall(r"\d[\d,.]*\d", " ".join(words_of(pen))))
        for pen in (drawing(name).wide, drawing(name).narrow)
    )
    assert wide == narrow


@pytest.mark.parametrize(("name", "page"), DIAGRAMS.items())
def test_each_stands_on_its_page(name, page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert f"draw: {name}\n" in text


def test_gpts_boxes_hold_the_models_parameters():
    with torch.device("meta"):
        model = GPT(GPT_2_SMALL)
    whole, block = model.transformer, model.transformer.h[0]
    parts = whole.wte, whole.wpe, block.attn, block.mlp, block.ln_1
    said = " ".join(words_of(drawing("gpt:block").wide))
    for part in (*parts, model):
        assert signs.count(parameters(part)) in said
    assert f"× {GPT_2_SMALL.n_layer}" in said


def test_the_transformers_boxes_hold_the_models_parameters():
    with torch.device("meta"):
        model = Transformer(BASE)
    layer = model.decoder.layers[0]
    parts = model.embedding, layer.multihead_attn, layer.norm3
    said = " ".join(words_of(drawing("transformer:model").wide))
    for part in parts:
        assert signs.count(parameters(part)) in said
    assert transformer.LAYERS == BASE.layers


def test_berts_boxes_hold_the_models_parameters():
    with torch.device("meta"):
        model = BertForMaskedLM(BERT_BASE)
    tables = model.bert.embeddings
    parts = tables.word_embeddings, tables.position_embeddings, model.cls
    said = " ".join(words_of(drawing("bert:reading").wide))
    for part in parts:
        assert signs.count(parameters(part)) in said
    assert bert.LAYERS == BERT_BASE.num_hidden_layers
    assert bert.VOCABULARY == BERT_BASE.vocab_size


def test_the_belts_are_the_traffic_of_the_formulas():
    n, d = attention_speed.LENGTH, attention_speed.HEAD_DIM
    said = " ".join(words_of(drawing("attention_speed:traffic").wide))
    for formula in (unfused_forward_traffic, fused_forward_traffic):
        assert signs.count(formula(n, n, d)) in said


@pytest.mark.parametrize("direction", forward_mode.DIRECTIONS)
def test_motions_are_those_of_dual_numbers(direction):
    point, moving = np.array(forward_mode.POINT), np.array(direction)
    found = jvp(lambda x: x[0] ** 2 * x[1], [point], [moving])
    assert forward_mode.pushed(direction)["L"] == found


def test_the_thread_block_has_the_tiles_of_the_code():
    figure, tiling = flash_attention_cuda, forward_tiling(64)
    shapes = tiling.q_tile, tiling.k_tile, tiling.k_tile, tiling.p_tile
    assert tuple(figure.SHAPES[name] for name in "QKVP") == shapes
    assert sum(map(figure.size, figure.SHAPES)) == tiling.forward_shared
    assert figure.LIMIT == SHARED_LIMIT and figure.SIDE == tiling.side
    assert figure.CELLS == (np.prod(tiling.q_cells), np.prod(tiling.p_cells))
    said = " ".join(words_of(drawing("flash_attention_cuda:block").wide))
    assert signs.count(tiling.forward_shared) in said


def test_a_fused_block_is_one_of_the_operations_drawn():
    rows = {"recorded": 135, "layers": 4}, {"recorded": 15, "layers": 4}
    assert training_step.inside(*rows) == 31
    with pytest.raises(ValueError, match="2 operations more"):
        training_step.inside({"recorded": 137, "layers": 4}, rows[1])


def test_the_ellipse_is_rounder_after_five_rounds_and_all_rise():
    spread = pretraining.spread(page_of("pretraining:muon"))
    pairs = [(v[pretraining.FIRST], v[pretraining.OTHER]) for v in spread]
    assert pairs[0][0] > 30 * pairs[0][1]
    assert 0.7 < pairs[-1][0] / pairs[-1][1] < 1.4
    high, low = pretraining.HIGH, pretraining.LOW
    for before, after in zip(spread[0], spread[-1], strict=True):
        assert low < after < high or before < 0.002


def test_a_path_is_as_long_as_the_lines_that_are_drawn():
    n = from_rnn_to_transformer.LETTERS
    edges = [(i, i + 1) for i in range(2 * n - 1)]  # read, then written
    ends = edges[0][0], edges[-1][1]
    assert ends == (0, 2 * n - 1)
    assert from_rnn_to_transformer.steps(0) == (len(edges), len(edges))
    assert from_rnn_to_transformer.steps(1) == (1, len(edges))
    assert from_rnn_to_transformer.steps(2) == (1, 1)


def test_the_mask_of_the_drawing_is_the_mask_of_the_code():
    triangle = [[int(j <= i) for j in range(8)] for i in range(8)]
    assert signs.seen(page_of("gpt:block"), "causal") == triangle


def test_ranks_hold_what_the_formula_says():
    said = " ".join(words_of(drawing("zero:stages").wide))
    for stage in range(4):
        bytes_ = memory(1, zero.RANKS, stage)
        assert f"{signs.short(bytes_)} B a number" in said


def test_shards_are_cut_where_the_code_cuts_them():
    weights = {
        name: torch.nn.Parameter(torch.zeros(size))
        for name, _, size in zero.SIZES
    }
    flat = Flat(weights, zero.RANKS)
    assert flat.shard == zero.SHARD
    assert flat.padded - flat.size == 3
    assert [p.name for p in flat.pieces(1)] == [n for n, *_ in zero.SIZES[:2]]


def test_a_mask_is_drawn_cell_by_cell():
    pen = Pen(40, 40)
    signs.mask(pen, 0, 0, [[1, 0, 1], [0, 0, 0], [1, 1, 1]], 10)
    bars = re.findall(
        r'solid bare" x="(\d+)" y="(\d+)" width="(\d+)"', pen.svg()
    )
    expected = [("0", "0", "10"), ("20", "0", "10"), ("0", "20", "30")]
    assert bars == expected


def test_heads_are_cut_where_the_code_cuts_them():
    strips = attention_heads.heads(page_of("attention_heads:heads"))
    heads = strips.narrow.svg().count('class="box c1 tint')
    queries = 5 + 3 * 6  # five tinted strips of Q, six heads three times
    assert heads == queries


@pytest.mark.parametrize("name", DIAGRAMS)
def test_links_lead_to_the_definition(name):
    picture = drawing(name).wide.svg()
    links = re.findall(
        rf'href="{REPOSITORY}/blob/main/([^"#]*)#L(\d+)-L(\d+)" '
        r'aria-label="Code of ([\w.]+)"',
        picture,
    )
    assert len(links) == picture.count("<a ")
    assert links or name in STANDING
    for path, first, last, symbol in links:
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        head = "\n".join(lines[int(first) - 1 : int(last)])
        name = symbol.split(".")[-1]
        assert re.search(rf"^ *(def |class )?{name}\b", head, re.M)


def test_a_symbol_that_is_gone_ends_the_build():
    with pytest.raises(LookupError, match="no symbol"):
        signs.code(page_of("gpt:block"), "transformer.gpt.model:Nothing")


def test_without_a_repository_the_names_are_no_links():
    pen = Pen(10, 10)
    page = page_of("gpt:block", None)
    with signs.linked(pen, page, "transformer.gpt.model:MLP"):
        pen.text(5, 5, "MLP")
    assert "<a " not in pen.svg()


def alone(name):
    """A page with one figure and the style sheet of the book."""
    style = (ROOT / "docs/assets/book.css").read_text(encoding="utf-8")
    figure = drawn.html(drawing(name), name, "alt", "caption")
    return (
        '<!doctype html><html style="font-size: 20px"><head><style>'
        f'{style}</style></head><body class="md-typeset" style="margin: 16px"'
        f' data-md-color-scheme="default">{figure}</body></html>'
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", DIAGRAMS)
def test_words_have_room_at_every_width_and_in_every_frame(
    browser, name, width
):
    view = browser.new_page(viewport={"width": width, "height": 800})
    view.set_content(alone(name))
    seen = view.locator("figure svg:visible")
    assert seen.get_attribute("class") == WIDTHS[width]
    crowded = view.evaluate(CROWDED)
    for frame in range(len(drawing(name).frames)):
        view.evaluate(SHOW, frame)
        crowded += view.evaluate(CROWDED)
    view.close()
    assert not crowded
