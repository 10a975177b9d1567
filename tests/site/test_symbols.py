"""The code on the page is the package's code, or the build fails."""

import pytest

from llmnotes._site import sources, symbols

MODULE = '''"""A module."""

from __future__ import annotations

import math
import os.path
from collections import ChainMap as Chain
from collections import OrderedDict, defaultdict, namedtuple, deque, Counter

try:
    import missing_package as gone
except ImportError:
    gone = None

#: a constant
LIMIT: int = (
    3
)
LOW, HIGH = 0, 0
LOW, HIGH = 1, 2


def cached(fn):
    return fn


@cached
@cached
def area(radius: float) -> float:
    """Return an area.

    Over two lines.
    """

    # why
    return math.pi * radius**2


class Shape:
    """A shape."""

    sides = 4

    def outline(self):
        """Only a docstring."""

    @property
    def name(self):
        text = """
    less indented"""
        return Chain({"name": text})

    class Inner:
        def deep(self):
            def deeper():
                return gone
            return deeper


def counters():
    return OrderedDict, defaultdict, namedtuple, deque, Counter, os.path
'''


@pytest.fixture
def repository(site):
    site.write("src/package/module.py", MODULE)
    site.write("tests/things.py", "def claim():\n    assert 1\n")
    return site


def code_of(root, line):
    return symbols.expand(f"--8<-- {line}", root)


def test_a_function_comes_with_decorators_and_nothing_else(repository):
    code = code_of(repository.root, '"package.module:area" doc')
    assert code in MODULE
    assert code.startswith("@cached\n@cached\ndef area(")
    assert code.endswith("radius**2")


@pytest.mark.parametrize(
    "name, code",
    [
        ("LIMIT", "LIMIT: int = (\n    3\n)"),
        ("HIGH", "LOW, HIGH = 1, 2"),
        ("gone", "gone = None"),
        ("Shape.sides", "sides = 4"),
        (
            "Shape.Inner.deep.deeper",
            "def deeper():\n    return gone",
        ),
        (
            "Shape.name",
            '@property\ndef name(self):\n    text = """\n    less indented"""'
            '\n    return Chain({"name": text})',
        ),
    ],
)
def test_a_dotted_path_reaches_every_definition(repository, name, code):
    assert code_of(repository.root, f'"package.module:{name}"') == code


def test_tests_are_found_at_the_root(repository):
    code = code_of(repository.root, '"tests.things:claim"')
    assert code == "def claim():\n    assert 1"


def test_a_package_is_found(repository):
    repository.write("src/package/__init__.py", "ONE = 1\n")
    assert code_of(repository.root, '"package:ONE"') == "ONE = 1"


def test_imports_are_those_that_the_block_uses(repository):
    code = code_of(repository.root, '"package.module:area" imports')
    assert code.startswith(
        "from __future__ import annotations\nimport math\n\n\n@cached"
    )
    code = code_of(repository.root, '"package.module:Shape.name" imports')
    assert code.startswith("from collections import ChainMap as Chain\n\n\n@")
    code = code_of(repository.root, '"package.module:Shape.Inner" imports')
    assert code.startswith("import missing_package as gone\n\n\nclass Inner")


def test_long_imports_are_wrapped_to_the_page(repository):
    code = code_of(repository.root, '"package.module:counters" imports')
    assert max(map(len, code.splitlines())) <= sources.WIDTH
    exec(code, namespace := {})
    assert namespace["counters"]()


def test_two_blocks_of_a_fence_share_their_imports(repository):
    text = (
        '--8<-- "package.module:area" imports\n\n'
        '--8<-- "package.module:counters" imports'
    )
    code = symbols.expand(text, repository.root)
    assert code.count("import") == code[: code.index("@cached")].count(
        "import"
    )


def test_docstrings_are_left_out_and_comments_stay(repository):
    code = code_of(repository.root, '"package.module:area"')
    assert code.endswith("float:\n    # why\n    return math.pi * radius**2")
    code = code_of(repository.root, '"package.module:Shape"')
    assert "A shape" not in code and "Only a docstring" in code
    code = code_of(repository.root, '"package.module:Shape" doc')
    assert "A shape" in code


GUARDED = """
from package.refusals import check_sizes, check_mask, checked


@checked
def attention(query, mask=None):
    # A size below one would do nothing.
    check_sizes(query=query)

    if mask is not None:
        check_mask(mask)
    if query > 9:
        raise ValueError("query")
    return check_sizes(query)


class Config:
    size: int

    def __post_init__(self):
        check_sizes(size=self.size)

    def twice(self):
        check_sizes(size=self.size)
        return 2 * self.size


def check_both(a, b):
    check_sizes(a=a)
    check_sizes(b=b)
"""


def test_guards_and_their_imports_are_left_out(repository):
    repository.write("src/package/guarded.py", GUARDED)
    code = code_of(repository.root, '"package.guarded:attention" imports')
    assert code == (
        "from package.refusals import check_sizes\n\n\n"
        "def attention(query, mask=None):\n    if query > 9:\n"
        '        raise ValueError("query")\n    return check_sizes(query)'
    )
    code = code_of(repository.root, '"package.guarded:Config"')
    assert code == (
        "class Config:\n    size: int\n\n    def twice(self):\n"
        "        return 2 * self.size"
    )


def test_guards_can_be_asked_for_and_stay_where_they_are_all(repository):
    repository.write("src/package/guarded.py", GUARDED)
    words = '"package.guarded:attention" imports guards'
    code = code_of(repository.root, words)
    assert "import check_mask, check_sizes, checked\n\n\n@checked" in code
    assert code.split("\n\n\n")[1] in GUARDED
    code = code_of(repository.root, '"package.guarded:check_both"')
    assert code in GUARDED and code.count("check_sizes") == 2


def test_a_check_in_a_test_is_what_it_claims(repository):
    repository.write(
        "tests/things.py", "def claim():\n    check_it()\n    f()"
    )
    assert "check_it" in code_of(repository.root, '"tests.things:claim"')


PAGE = (
    '# T\n\n```python title="x"\n--8<-- "package.module:{}"\n```\n\nAfter.\n'
)


def test_the_page_shows_the_source_and_links_to_its_lines(repository):
    html = repository.html("page", PAGE.format("Shape.outline"))
    assert 'class="filename">x<' in html
    first = MODULE[: MODULE.index("def outline")].count("\n") + 1
    url = "https://example.org/repository/blob/main/src/package/module.py"
    assert f'href="{url}#L{first}-L{first + 1}"' in html
    assert "module.py · lines <a" in html and f">{first}–{first + 1}<" in html
    assert html.index('class="place"') < html.index("<pre>")
    assert "Shape.outline in src/package/module.py" in html


def test_a_fence_inside_a_tab_keeps_its_place(repository):
    text = PAGE.format("Shape.sides").replace("# T\n\n", "")
    inside = "".join(f"    {line}\n" for line in text.splitlines())
    html = repository.html("page", f'# T\n\n=== "One"\n\n{inside}\nOut.\n')
    tab = html[html.index("tabbed-content") : html.index("Out.")]
    assert "sides" in tab and "module.py" in tab and "After." in tab


def test_a_semicolon_shows_the_line_itself(repository):
    text = '# T\n\n```markdown\n;--8<-- "package.module:area"\n```\n'
    html = repository.html("page", text)
    assert "--8&lt;--" in html and "radius" not in html
    assert ";--8" not in html


@pytest.mark.parametrize(
    "line, cause",
    [
        ("package.nowhere:area", "no module package.nowhere"),
        ("package.module:volume", "no symbol package.module:volume"),
        ("package.module:Shape.edge", "no symbol package.module:Shape.edge"),
    ],
)
def test_a_missing_symbol_ends_the_build(repository, line, cause):
    text = f'# T\n\n```python\n--8<-- "{line}"\n```\n'
    assert cause in repository.failure("basics__page", text)


def test_an_unknown_option_ends_the_build(repository):
    text = PAGE.format("area").replace('area"', 'area" nodocs')
    assert "unknown option nodocs" in repository.failure("page", text)


def test_a_symbol_outside_a_fence_ends_the_build(repository):
    text = '# T\n\n--8<-- "package.module:area"\n'
    assert "must stand in a fence" in repository.failure("page", text)


def test_a_module_with_a_syntax_error_ends_the_build(repository):
    repository.write("src/package/module.py", "def broken(:\n")
    said = repository.failure("page", PAGE.format("area"))
    assert said.startswith("package.module, line 1: invalid syntax")


def test_expanding_a_page_leaves_the_rest_alone(repository):
    page = PAGE.format("Shape.sides")
    plain = symbols.expand(page, repository.root)
    assert plain == page.replace(
        '--8<-- "package.module:Shape.sides"', "sides = 4"
    )
