"""Every chapter has its five homes; the map and the boxes tell the truth."""

import json
import re
import xml.etree.ElementTree as etree

import pytest

from llmnotes._site import atlas, book, mirror, results
from tests.site.conftest import ROOT


@pytest.fixture
def three(site):
    """First is imported by second, both by last, which is a folder."""
    site.write("mkdocs.yml", site.root.joinpath("mkdocs.yml").read_text())
    code = {
        "basics/first.py": "def one(): ...\n",
        "basics/second.py": "from llmnotes.basics.first import one\n",
        "later/last/__init__.py": "",
        "later/last/cpu.py": "import llmnotes.basics.first\n"
        "from llmnotes.basics import second\n",
        "basics/__init__.py": "",
        "later/__init__.py": "",
        "shared/__init__.py": "",
        "shared/tools.py": "",
        "text.py": "",
        "text_files.py": "",
        "__main__.py": "",
    }
    for path, text in code.items():
        site.write(f"src/llmnotes/{path}", text)
    for part, slug in (
        ("basics", "first"),
        ("basics", "second"),
        ("later", "last"),
    ):
        site.write(f"docs/{part}/{slug}.md", f"# {slug}\n")
        site.write(f"docs/{part}/index.md", f"# {part}\n")
        site.write(f"tests/{part}/test_{slug}.py", "")
    (site.root / "tests/later/test_last.py").unlink()
    for name in ("test_text", "test_text_speed", "shared/test_tools"):
        site.write(f"tests/{name}.py", "")
    site.write("tests/test_cli.py", "from llmnotes import __main__ as cli\n")
    site.write("tests/later/last/test_cpu.py", "")
    site.write("tests/later/last/helper.py", "")
    nav = "nav: [{A: [basics/first.md, basics/second.md]}, later/last.md]\n"
    config = site.root / "mkdocs.yml"
    config.write_text(config.read_text() + nav)
    return site


def test_the_book_has_a_home_for_everything():
    assert mirror.faults(ROOT) == []


def test_a_whole_book_has_no_faults(three):
    assert mirror.faults(three.root) == []


def test_a_single_module_may_have_its_proofs_in_several_files(three):
    three.write("tests/basics/first/test_an_idea.py", "")
    assert mirror.faults(three.root) == []


def test_a_page_without_code_may_have_its_claims_beside_a_module(three):
    three.write("tests/later/last/test_cpu_claims.py", "")
    assert mirror.faults(three.root) == []


@pytest.mark.parametrize(
    "path, fault",
    [
        ("src/llmnotes/basics/second.py", "basics/second: no code"),
        ("tests/basics/test_second.py", "basics/second: no tests"),
        ("src/llmnotes/__main__.py", "tests/test_cli.py: no such module"),
        (
            "tests/test_cli.py",
            "src/llmnotes/__main__.py: no tests/test___main__.py",
        ),
    ],
)
def test_a_missing_partner_is_named(three, path, fault):
    (three.root / path).unlink()
    assert fault in mirror.faults(three.root)


@pytest.mark.parametrize(
    "path, fault",
    [
        ("docs/basics/fourth.md", "no such chapter"),
        ("docs/results/basics/fourth.json", "no such chapter"),
        ("docs/results/basics/first.json", "basics/first: no benchmark"),
        ("tests/basics/test_fourth.py", "no such chapter"),
        ("tests/basics/bench_fourth.py", "no such chapter"),
        ("tests/basics/bench_first.py", "basics/first: no results"),
        ("src/llmnotes/basics/lonely.py", "basics/lonely: no such chapter"),
        ("tests/basics/helper.py", "tests/basics/helper.py: no such chapter"),
        ("tests/basics/fourth/test_it.py", "no such chapter"),
        ("tests/later/last/test_gpu.py", "later/last has no such module"),
        ("tests/later/last/test_gpu_claims.py", "has no such module"),
        ("tests/later/last/bench_other.py", "expected bench_last.py"),
        ("src/llmnotes/misc/things.py", "misc is not a part of the book"),
        ("src/llmnotes/tex.py", "tex.py: no tests/test_tex.py"),
        ("tests/test_tex.py", "tests/test_tex.py: no such module"),
        ("src/llmnotes/later/last.py", "both a module and a package"),
        ("docs/basics/third.md", "nav has the chapters"),
        ("src/llmnotes/later/last/deep/x.py", "last/deep: no __init__.py"),
        ("tests/basics/first/deep/test_it.py", "no such chapter"),
        ("tests/lost/test_it.py", "tests/lost: no src/llmnotes/lost"),
        ("docs/results/lost/it.json", "no benchmark writes it"),
    ],
)
def test_a_stray_is_named(three, path, fault):
    three.write(path, "")
    assert any(fault in found for found in mirror.faults(three.root))


def test_a_backward_import_is_named(three):
    path = "src/llmnotes/basics/first.py"
    three.write(path, "def late():\n    import llmnotes.later.last.cpu\n")
    fault = "basics/first imports later/last, which comes later in the book"
    assert fault in mirror.faults(three.root)


@pytest.mark.parametrize(
    "line",
    [
        "from ..later import last",
        "from ..later.last import cpu as c",
        "from llmnotes.later import last",
        "from llmnotes.later.last import *",
        "import llmnotes.later.last as late",
        "import os, llmnotes.later.last.cpu",
        "from llmnotes.text import x  # which needs the last",
    ],
)
def test_however_it_is_written_an_import_backwards_is_seen(three, line):
    three.write("src/llmnotes/text.py", "import llmnotes.later.last.cpu\n")
    three.write("src/llmnotes/basics/first.py", f"if 1:\n    {line}\n")
    fault = "basics/first imports later/last, which comes later in the book"
    assert fault in mirror.faults(three.root)


def test_importing_a_part_is_not_importing_its_chapters(three):
    """Python itself would not find them there."""
    three.write("src/llmnotes/basics/first.py", "import llmnotes.later\n")
    assert mirror.faults(three.root) == []


def test_a_circle_is_named_also_inside_of_a_chapter(three):
    home = "src/llmnotes/later/last"
    three.write(f"{home}/__init__.py", "from .cpu import run\n")
    three.write(f"{home}/cpu.py", "from .model import x\n")
    three.write(f"{home}/model.py", "def run():\n    from . import run\n")
    last = "llmnotes.later.last"
    faults = mirror.faults(three.root)
    assert [f for f in faults if "which need it" in f] == [
        f"{last} imports {last}.cpu, which need it",
        f"{last}.cpu imports {last}.model, which need it",
        f"{last}.model imports {last}, which need it",
    ]


def test_the_book_needs_nothing_of_the_site(three):
    three.write("src/llmnotes/_site/__init__.py", "")
    three.write("src/llmnotes/_site/page.py", "import llmnotes._site\n")
    assert mirror.faults(three.root) == []
    three.write("src/llmnotes/text.py", "from llmnotes._site import page\n")
    assert mirror.faults(three.root) == [
        "llmnotes.text imports llmnotes._site.page, which only the site needs"
    ]


def test_two_benchmarks_that_write_one_file_are_named(three):
    three.write("tests/later/last/bench_last.py", "")
    three.write("docs/results/later/last.json", "{}")
    three.write("docs/results/later/last.md", results.stub("later/last"))
    assert mirror.faults(three.root) == []
    three.write("tests/later/bench_last.py", "")
    fault = "docs/results/later/last.json: 2 benchmarks write it"
    assert mirror.faults(three.root) == [fault]


def test_what_editors_and_other_branches_leave_is_no_code(three):
    lock = three.root / "src/llmnotes/basics/.#first.py"
    lock.symlink_to("nobody@nowhere:1")
    for path in (
        "src/llmnotes/basics/first/__pycache__/model.cpython-311.pyc",
        "src/llmnotes/basics/.ipynb_checkpoints/first-checkpoint.py",
        "tests/basics/.ipynb_checkpoints/test_first-checkpoint.py",
    ):
        three.write(path, "not Python")
    assert mirror.faults(three.root) == []


def test_a_byte_order_mark_is_no_fault(three):
    three.write("src/llmnotes/basics/first.py", "\ufeffimport os\n")
    assert mirror.faults(three.root) == []


def test_a_module_that_is_not_python_is_named_with_its_line(three):
    three.write("src/llmnotes/basics/first.py", "x = 1\ndef f(:\n")
    fault = r"^src/llmnotes/basics/first.py, line 2: invalid syntax$"
    with pytest.raises(ValueError, match=fault):
        mirror.faults(three.root)
    code, output = three.build(**pages(three))
    assert code == 1 and "Traceback" not in output
    assert "index.md: src/llmnotes/basics/first.py, line 2: inv" in output


def test_a_part_without_chapters_is_an_empty_part(three):
    config = three.root / "mkdocs.yml"
    later = "    later: {last: The last one}\n"
    config.write_text(
        config.read_text().replace(later, f"{later}    empty:\n")
    )
    assert mirror.faults(three.root) == []


def test_the_nav_follows_the_book(three):
    config = three.root / "mkdocs.yml"
    text = config.read_text()
    swapped = "basics/second.md, basics/first.md"
    config.write_text(
        text.replace("basics/first.md, basics/second.md", swapped)
    )
    assert "nav has the chapters" in mirror.faults(three.root)[0]


def test_code_may_stand_before_its_page_but_not_a_page_without_code(three):
    """A later chapter needed it; the chapter itself is still coming."""
    three.write("src/llmnotes/basics/third.py", "")
    three.write("tests/basics/test_third.py", "")
    assert mirror.faults(three.root) == []
    assert not book.book(three.root)["basics/third"].written
    three.write("tests/basics/bench_third.py", "")
    three.write("docs/results/basics/third.json", "{}")
    assert "basics/third: no page" in mirror.faults(three.root)


def test_a_folder_that_several_parts_share_is_proved_in_its_own(three):
    (three.root / "tests/shared/test_tools.py").unlink()
    fault = "src/llmnotes/shared is not a part of the book"
    assert fault in mirror.faults(three.root)


def test_tests_of_a_longer_name_are_not_those_of_a_shorter(three):
    for name in ("first", "first_shapes", "second"):
        three.write(f"tests/basics/test_{name}.py", "")
    config = three.root / "mkdocs.yml"
    config.write_text(config.read_text().replace("third:", "first_shapes:"))
    homes = book.book(three.root)["basics/first"].homes()
    assert [p.name for p in homes["tests"]] == ["test_first.py"]


def test_a_chapter_owns_what_lies_below_its_name(three):
    three.write("tests/later/last/bench_last_speed.py", "")
    three.write("docs/results/later/last_speed.json", "{}")
    page = "docs/results/later/last_speed.md"
    three.write(page, results.stub("later/last_speed"))
    homes = book.book(three.root)["later/last"].homes()
    assert {
        home: [p.as_posix() for p in ps] for home, ps in homes.items()
    } == {
        "page": ["docs/later/last.md"],
        "code": ["src/llmnotes/later/last"],
        "tests": ["tests/later/last/test_cpu.py"],
        "benchmark": ["tests/later/last/bench_last_speed.py"],
        "results": ["docs/results/later/last_speed.json"],
    }
    assert mirror.faults(three.root) == []


def recorded(site, result):
    """Give the last chapter a result."""
    data = {"schema": 1, "chapter": "later/last", "results": {"one": result}}
    site.write("docs/results/later/last.json", json.dumps(data))


def test_a_folder_of_proofs_is_one_line_and_no_result_stands_twice(
    three, result
):
    for name in ("test_cpu", "test_claims", "bench_last"):
        three.write(f"tests/later/last/{name}.py", "")
    recorded(three, result)
    given = pages(three)
    html = three.html("later__last", given.pop("later__last"), **given)
    homes = homes_of(html)
    shown = {name: [text for _, text in rows] for name, rows in homes.items()}
    assert shown["Proofs"] == ["tests/later/last/"]
    assert shown["Benchmark"] == ["tests/later/last/bench_last.py"]
    assert shown["Results"] == ["docs/results/later/last.json"]


def test_what_a_chapter_imports_is_what_it_builds_on(three):
    links = book.graph(three.root)
    assert links.builds_on("later/last") == ["basics/first", "basics/second"]
    assert links.used_by("basics/first") == ["basics/second", "later/last"]


def test_what_follows_from_two_edges_is_not_drawn(three):
    drawn = atlas.edges(book.graph(three.root))
    assert drawn == [
        ("basics/first", "basics/second"),
        ("basics/second", "later/last"),
    ]


def homes_of(html):
    fold = re.search(r'<details class="homes.*?</details>', html, re.S)[0]
    rows = {}
    for row in etree.fromstring(fold).iter("div"):
        links = [(a.get("href"), "".join(a.itertext())) for a in row.iter("a")]
        rows[row[0].text] = links
    return rows


def pages(site):
    return {
        "__".join(
            path.relative_to(site.root / "docs").with_suffix("").parts
        ): (path.read_text())
        for path in site.root.glob("docs/**/*.md")
    }


def test_the_fold_at_the_end_lists_homes_proof_and_runs(three, result):
    three.write("tests/later/bench_last.py", "")
    recorded(three, result)
    given = {**pages(three), "later__last": "Before.\n\n# Title\n\nAfter.\n"}
    text = given.pop("later__last")
    html = three.html("later__last", text, **given)
    assert html.index("After.") < html.index('<details class="homes"')
    rows = homes_of(html)
    base = "https://example.org/repository"
    assert rows["Page"][0][0] == f"{base}/blob/main/docs/later/last.md"
    assert rows["Code"] == [
        (
            f"{base}/tree/main/src/llmnotes/later/last",
            "src/llmnotes/later/last/",
        ),
    ]
    assert rows["Benchmark"][0][1] == "tests/later/bench_last.py"
    assert rows["Results"][0][1] == "docs/results/later/last.json"
    assert "Used by" not in rows
    assert "<code>make test name=later/last</code>" in html
    run = "make bench name=basics/first: Abacus 3000, 2 cores, 1 thread, Linux"
    assert f"<dt>Run</dt><dd><span>{run}" in html


def test_a_chapter_opens_with_its_description_and_one_line(three):
    text = "---\ndescription: Says <what> it is.\n---\n\n# T\n\nText.\n"
    given = {**pages(three), "later__last": text}
    text = given.pop("later__last")
    html = three.html("later__last", text, **given)
    rest = html.split("</h1>", 1)[1]
    assert rest.strip().startswith(
        '<p class="standfirst">Says &lt;what&gt; it is.</p>'
        '<p class="chapter" data-search-exclude="">Chapter 4 · 1 min · '
        'builds on <a href="../../basics/first/">First</a>, '
        '<a href="../../basics/second/">Second</a></p><p>Text.</p>'
    )


def test_minutes_count_prose_and_code_and_not_what_is_drawn(three):
    words, code = "word " * 2000, "```python\n" + "x = 1\n" * 250 + "```\n"
    table = "```text\n" + "word " * 9000 + "\n```\n"
    given = pages(three)
    given["basics__first"] = f"# T\n\n{words}\n\n{code}\n{table}"
    text = given.pop("basics__first")
    assert "Chapter 1 · 20 min<" in three.html("basics__first", text, **given)


def test_a_page_that_is_no_chapter_has_no_frame(three):
    given = pages(three)
    html = three.html("about", "# About\n", **given)
    assert "homes" not in html and "standfirst" not in html


def test_a_chapter_without_a_title_ends_the_build(three):
    three.write("docs/basics/first.md", "No title.\n")
    assert "needs a title" in three.failure("basics__first", "No title.\n")


def test_the_map_links_what_is_written_and_marks_what_is_coming(three):
    given = pages(three)
    text = "# T\n\n```map\nbook\n```\n"
    html = three.html("about", text, **given)
    drawings = re.findall(r"<svg.*?</svg>", html, re.S)
    assert len(drawings) == 2
    for drawing in drawings:
        root = etree.fromstring(drawing)
        links = {a.get("href"): "".join(a.itertext()) for a in root.iter("a")}
        assert (
            links
            == {
                "../basics/first/": "First",
                "../basics/second/": "Second",
                "../later/last/": "The last one",
            }
            or links["../later/last/"] == "The lastone"
        )
        coming = [g for g in root.iter("g") if g.get("class") == "node coming"]
        assert len(coming) == 1
        assert coming[0][0].text == "Third steps: coming"
        assert any(e.get("stroke-dasharray") for e in coming[0].iter())
        ends = [
            a.get("href")
            for a in root.iter("a")
            for _ in a.findall("path[@class='edge']")
        ]
        assert ends == ["../basics/second/", "../later/last/"]
        # Part names and titles stay inside the picture.
        width = float(root.get("viewBox").split()[2])
        assert all(float(t.get("x")) < width for t in root.iter("text"))
    text = html[html.index("<details") :]
    assert "Third steps (coming)" in text
    assert ">Second</a>, builds on First</li>" in text


def test_a_dead_link_ends_the_build(site):
    code, output = site.build(page="# T\n\n[gone](gone.md)\n")
    assert code == 1
    assert "'page.md' contains a link 'gone.md'" in output


def test_a_dead_anchor_ends_the_build(site):
    code, output = site.build(page="# T\n\n[gone](index.md#gone)\n")
    assert code == 1
    assert "'page.md' contains a link 'index.md#gone'" in output


def test_a_chapters_number_counts_those_that_are_coming(three):
    chapters = book.book(three.root)
    assert not chapters["basics/third"].written
    assert [book.number(c) for c in chapters.values()] == [1, 2, 3, 4]
    assert book.number(chapters["later/last"]) == 4


def test_results_without_their_page_and_a_page_without_results(three):
    three.write("docs/results/zoo/lion.json", "{}")
    three.write("docs/results/zoo/tiger.md", results.stub("zoo/tiger"))
    found = [f for f in mirror.faults(three.root) if ".md: " in f]
    assert found == [
        "docs/results/zoo/lion.md: expected '```results\\nfile: zoo/lion\\n"
        "```\\n'",
        "docs/results/zoo/tiger.md: no tiger.json beside it",
    ]
    three.write("docs/results/zoo/lion.md", results.stub("zoo/tiger"))
    assert found[0] in mirror.faults(three.root)


def test_a_part_with_a_chapter_has_a_page(three):
    (three.root / "docs/later/index.md").unlink()
    assert mirror.faults(three.root) == [
        "docs/later/index.md: no page of this part, which has chapters"
    ]
