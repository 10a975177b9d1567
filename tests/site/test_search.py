"""Search finds what a reader types: every heading, and words of their own."""

import json
import re

import pytest

from llmnotes._site import searching
from tests.site import built, serving
from tests.site.built import text

SIZE = 1_200_000  # bytes of the index, uncompressed

# What readers type, and a page that should be among the first three.
PHRASES = {
    "why divide by sqrt d": "transformer/attention/",
    "scaled dot product": "transformer/attention/",
    "kv cache": "",
    "GQA": "transformer/attention/|kernels/|",
    "vanishing gradient": "sequence/",
    "vanishing gradients": "sequence/",
    "layer": "transformer/|sequence/",
    "layer norm": "transformer/",
    "LayerNorm": "transformer/",
    "avx": "kernels/",
    "atention": "transformer/attention/",
    "transfomer": "transformer/transformer/",
    "embeding": "transformer/|sequence/",
    "causal mask": "transformer/attention/",
    "flash attention": "kernels/flash_attention/",
    "online softmax": "kernels/flash_attention/",
    "rotary": "transformer/rope/",
    "sinusoidal positions": "transformer/positions/",
    "alibi": "transformer/positions/",
    "masked language model": "transformer/bert/",
    "beam search": "sequence/seq2seq/",
    "teacher forcing": "sequence/seq2seq/",
    "forget gate": "sequence/lstm/",
    "jvp": "foundations/forward_mode/",
    "backpropagation": "foundations/autograd/|sequence/rnn/",
    "top-p sampling": "transformer/",
    "temperature": "transformer/",
    "label smoothing": "transformer/transformer/",
    "gpt2": "transformer/",
    "roofline": "kernels/attention_speed/",
    "shared memory": "kernels/flash_attention",
    "causal_mask": "transformer/attention/",
    "lstm vs gru": "sequence/",
    "muon": "transformer/",
}


# Types each query and waits for its list, as a reader would.
TYPED = """async queries => {
  const field = document.querySelector(".find input");
  const list = document.querySelector(".find ol");
  const found = [];
  for (const query of queries) {
    field.focus();
    field.value = query;
    field.dispatchEvent(new Event("input", {bubbles: true}));
    while (list.dataset.query !== query)
      await new Promise(done => setTimeout(done, 1));
    found.push([...list.querySelectorAll("li > a:first-child")]
      .map(link => link.href.split("#")[0]));
  }
  return found;
}"""


@pytest.fixture(scope="module")
def index():
    """The index as it is sent."""
    path = built.home() / "search/index.json"
    assert path.stat().st_size < SIZE
    return json.loads(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def search(open_page):
    """Type into the field of one page; the addresses that come, in order."""
    page, errors = open_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text))
    page.goto("contributing/", wait_until="networkidle")
    start = page.url.removesuffix("contributing/")

    def typed(*queries):
        found = page.evaluate(TYPED, queries)
        return [[u.removeprefix(start) for u in urls] for urls in found]

    yield typed
    page.context.close()
    assert errors == []


@pytest.mark.parametrize("words", PHRASES)
def test_what_readers_type_leads_to_the_page_that_answers(words, search):
    (found,) = search(words)
    assert any(re.match(PHRASES[words], url) for url in found[:3]), found


def headings() -> dict[str, set[str]]:
    """The headings of the chapters: where each stands."""
    found = {}
    for url in serving.chapters():
        for e in built.page(url).article.iter():
            if e.tag in ("h1", "h2"):
                words = text(e, lambda a: "headerlink" in a.get("class", ""))
                found.setdefault(" ".join(words.split()), set()).add(url)
    return found


def test_a_heading_that_is_typed_leads_to_its_page(search):
    wanted = headings()
    found = dict(zip(wanted, search(*wanted), strict=True))
    missed = {w: f[:3] for w, f in found.items() if not wanted[w] & {*f[:3]}}
    assert missed == {}


def test_no_number_soup_is_in_the_index(index):
    texts = [s[2] for _, _, _, own in index for s in own]
    assert len(texts) > 150 and sum(map(len, texts)) > 150_000
    for soup in (r"[a-z]\d+[a-z]+\d+[a-z]", "Run again with", "measuring:"):
        assert [t for t in texts if re.search(soup, t)] == []


def test_only_pages_of_the_book_are_found_and_none_of_results(index):
    urls = [url for url, *_ in index]
    assert len(urls) == len(set(urls))
    assert set(serving.chapters()) <= set(urls)
    assert not [url for url in urls if url.startswith(("results", "gallery"))]


PAGE = """<h1 id="a">Long <em>short</em><a class="headerlink">¶</a></h1>
<p>One<br>two, <code>code</code> and <span class="arithmatex"><math>
<annotation encoding="application/x-tex">d</annotation></math>d</span>.</p>
<aside class="homes"><div><div>paths</div></div> more</aside><p>After.</p>
<h2 id="b">Next</h2><pre><code>def find(x): return 1</code></pre>
<div class="arithmatex"><math><annotation encoding="application/x-tex">
\\frac{1}{\\sqrt{d}}</annotation></math></div>
<table><tr><td>36</td></tr></table><ul><li>x</li><li>y</li></ul>
<div data-search-exclude><div>no</div> no</div>"""


def test_a_page_is_read_as_prose_with_the_names_its_code_defines():
    assert searching.sections(PAGE) == [
        ["", "Long short", "One two, code and d. After.", ""],
        ["b", "Next", "… x y", "find sqrt"],
    ]
