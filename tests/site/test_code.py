"""A block of code: its words, its head, its folds and what they leave out."""

import re
from pathlib import Path

import pytest

from llmnotes._site import code, tokens
from llmnotes._site.page import Page
from tests.site import built

MODULE = '''"""A module."""

import math
from package.refusals import check_sizes


def area(radius: float) -> float:
    """Return πr²."""
    check_sizes(radius=radius)
    return math.pi * radius**2


def half(x):
    return x / 2


LIMIT = 3
'''
URL = "https://example.org/repository/blob/main/src/package/module.py"


@pytest.fixture
def repository(site):
    site.write("src/package/module.py", MODULE)
    site.write("src/package/other.py", "ONE = 1\n")
    return site


def fence(*lines, options="", language="python"):
    body = "\n".join(lines)
    return f"# T\n\n```{language}{options}\n{body}\n```\n"


def symbol(name, words="", module="module"):
    return f'--8<-- "package.{module}:{name}" {words}'


def tree(html):
    return built.read(f"<main>{html}</main>").root


def block_of(html):
    (found,) = built.of_class(tree(html), "highlight")
    return found


# Words ---------------------------------------------------------------------


def test_only_words_with_a_style_are_elements():
    shown = tokens.html("total = f(x[1:], *y) + n\n", "python")
    assert shown == ('total = f(x[<span class="m">1</span>:], *y) + n\n')


def test_neighbours_of_one_style_are_one_element():
    shown = tokens.html('# a\n# b\nx = f"{y}" "c"\n', "python")
    assert shown.count('class="c"') == 1
    assert '<span class="c"># a\n# b\n</span>' in shown
    assert '<span class="s">"c"' not in shown and "&lt;" not in shown


@pytest.mark.parametrize("language", ["python", "console", "text", "nonsense"])
def test_the_text_is_the_code(language):
    text = '$ make\n>>> def f(a: "b<c>") -> int:  # é & co\n\n    return {1}\n'
    html = tokens.html(text, language, marked={2, 4})
    assert built.text(tree(html)) == text
    assert html.count('class="hll"') == 2


def test_marked_lines_are_whole_lines():
    html = tokens.html('"""a\nb"""\nc\n', "python", marked={2})
    assert '<span class="hll"><span class="sd">b"""\n</span></span>' in html


def test_every_style_has_its_look():
    book = Path(__file__).parents[2] / "docs/assets/book.css"
    css = book.read_text("utf-8")
    unstyled = {
        name for name in tokens.STYLES if f".{name}" not in css
    } - MATERIALS
    assert unstyled == set()


# Coloured by Material's own style sheet.
MATERIALS = {"s", "se", "m", "nb", "nf", "nd", "gp", "go"}


# Head ----------------------------------------------------------------------


def test_a_head_names_file_and_lines_and_what_is_missing(repository):
    html = repository.html("page", fence(symbol("area")))
    (head,) = built.of_class(block_of(html), "head")
    assert built.text(head) == "module.py · lines 7–10 · without guards"
    (link,) = head.iter("a")
    assert link.get("href") == f"{URL}#L7-L10"
    assert link.get("title") == (
        "area in src/package/module.py, shown without docstring and guards"
    )
    html = repository.html("page", fence(symbol("area", "guards")))
    assert "without guards" not in html and "without docstring" in html


def test_a_head_names_each_symbol_shortly(repository):
    lines = symbol("half"), symbol("LIMIT"), symbol("ONE", module="other")
    html = repository.html("page", fence(*lines, options=' title="Three"'))
    (head,) = built.of_class(block_of(html), "head")
    assert built.text(head) == (
        "Threemodule.py · lines 13–14, 17 · other.py · line 1"
    )


def test_code_that_is_nobodys_has_no_head_but_can_be_copied(repository):
    html = repository.html("page", fence("print(1)"))
    assert 'class="head"' not in html and html.count("<button") == 1
    html = repository.html("page", fence("1", language="text"))
    assert "<button" not in html


def test_without_a_repository_the_head_leads_to_the_sites_copy(repository):
    config = (repository.root / "mkdocs.yml").read_text("utf-8")
    bare = re.sub(r"(?m)^(repo_url|edit_uri):.*\n", "", config)
    assert bare != config
    repository.write("mkdocs.yml", bare)
    html = repository.html("a__page", fence(symbol("half")))
    assert 'href="../../source/src/package/module.py.txt"' in html
    copy = repository.root / "site/source/src/package/module.py.txt"
    assert copy.read_text("utf-8") == MODULE


# Folds ---------------------------------------------------------------------


def test_imports_are_one_folded_line_and_part_of_the_code(repository):
    lines = symbol("area", "imports guards doc"), "", "", symbol("half")
    html = repository.html("page", fence(*lines))
    block = block_of(html)
    (fold,) = built.of_class(block, "imports")
    assert built.text(next(fold.iter("summary"))) == "2 imports"
    assert "open" not in fold.attrib
    copied = "".join(built.text(c) for c in block.iter("code"))
    assert copied.rstrip() in MODULE


def test_marked_lines_are_counted_without_the_imports(repository):
    text = fence(symbol("area", "imports"), options=' hl_lines="2"')
    html = repository.html("page", text)
    (line,) = built.of_class(block_of(html), "hll")
    assert built.text(line) == "    return math.pi * radius**2\n"


def test_a_block_folds_under_its_words(repository):
    text = fence(symbol("half"), options=' fold="a helper & more"')
    html = repository.html("page", text)
    (fold,) = built.of_class(tree(html), "fold")
    assert built.text(next(fold.iter("summary"))) == "a helper & more"
    assert next(built.of_class(fold, "highlight"), None) is not None


@pytest.mark.parametrize(
    "options, cause",
    [
        (' colour="red"', "python: unknown option 'colour'; one of fold, "),
        (' hl_lines="x"', "hl_lines: got 'x', as in 2 4-5"),
    ],
)
def test_a_wrong_option_ends_the_build(repository, options, cause):
    text = fence("print(1)", options=options)
    assert cause in repository.failure("page", text)


def test_a_block_can_be_had_by_name(repository):
    page = Page("page.md", repository.root, {})
    html = code.block(page, "package.module", "area", ["doc", "imports"])
    block = block_of(html)
    assert "πr²" in built.text(block) and "import math" in built.text(block)
    with pytest.raises(LookupError):
        code.block(page, "package.module", "volume")
