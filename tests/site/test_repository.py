"""Whose book it is: one setting, and no address that nobody gave."""

import re
import subprocess

import pytest
from mkdocs.config import load_config
from mkdocs.exceptions import ConfigurationError

from llmnotes._site import repository
from tests.site.conftest import ROOT

HUB = "https://hub.example.org/us/book"
LINKS = (
    "# T\n\n```console\n$ git clone <address of this repository> book\n```\n\n"
    "[a file](repository:src/one.py), [a folder](repository:src), and [far]."
    "\n\n[far]: repository:src/one.py\n"
)


@pytest.mark.parametrize(
    "remote, address",
    [
        ("https://hub.example.org/us/book", HUB),
        ("https://hub.example.org/us/book.git", HUB),
        ("https://hub.example.org/us/book/", HUB),
        ("https://me:secret@hub.example.org/us/book.git", HUB),
        ("ssh://git@hub.example.org:2222/us/book.git", HUB),
        ("git@hub.example.org:us/book.git", HUB),
        ("hub.example.org:us/book", HUB),
        (
            "http://hub.example.org:8080/deep/us/book",
            "http://hub.example.org:8080/deep/us/book",
        ),
        ("https://hub.example.org/", None),
        ("/home/me/book.git", None),
        ("../book", None),
        ("file:///home/me/book.git", None),
        ("C:/Users/me/book", None),
        ("", None),
    ],
)
def test_an_address_of_git_becomes_one_of_the_web_or_none(remote, address):
    assert repository.on_the_web(remote) == address


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A repository in a folder; call it with the address of its remote."""
    monkeypatch.delenv(repository.VARIABLE, raising=False)

    def with_remote(url):
        git = ["git", "-C", str(tmp_path)]
        subprocess.run([*git, "init", "--quiet"], check=True)
        subprocess.run([*git, "config", "remote.origin.url", url], check=True)
        return tmp_path

    return with_remote


@pytest.mark.parametrize(
    "remote", [f"{HUB}.git", "git@hub.example.org:us/book.git"]
)
def test_a_remote_on_the_web_is_the_address(clone, remote):
    root = clone(remote)
    assert repository.address(root) == HUB
    assert repository.edit_uri(root) == "edit/main/docs/"


@pytest.mark.parametrize(
    "remote",
    [
        "/srv/git/book.git",
        "http://127.0.0.1:9000/us/book",
        "http://[::1]/us/book",
        "https://10.0.0.7/us/book",
        "git@server:us/book.git",
        "ssh://git@server/us/book.git",
        "https://git.office.local/us/book",
        "git@github.com-work:us/book.git",
    ],
)
def test_a_path_or_a_private_host_is_never_shown(clone, remote):
    root = clone(remote)
    assert repository.address(root) is None
    assert repository.edit_uri(root) is None


def test_without_a_remote_or_a_repository_there_is_no_address(clone, tmp_path):
    assert repository.address(tmp_path) is None
    root = clone(HUB)
    subprocess.run(["git", "-C", str(root), "remote", "remove", "origin"])
    assert repository.address(root) is None


def test_the_remote_of_a_repository_around_the_book_is_not_its_own(clone):
    inside = clone(HUB) / "vendored"
    inside.mkdir()
    assert repository.address(inside) is None


def test_the_variable_comes_before_the_remote(clone, monkeypatch):
    root = clone(HUB)
    monkeypatch.setenv(repository.VARIABLE, "git@git.office.local:a/b.git")
    assert repository.address(root) == "https://git.office.local/a/b"
    monkeypatch.setenv(repository.VARIABLE, "")
    assert repository.address(root) is None


def test_a_variable_that_is_no_address_is_refused(monkeypatch):
    monkeypatch.setenv(repository.VARIABLE, "us/book")
    with pytest.raises(ConfigurationError, match="got 'us/book', expected"):
        repository.address()


@pytest.mark.parametrize("given, edit", [(HUB, "edit/main/docs/"), ("", None)])
def test_mkdocs_asks_for_the_address(monkeypatch, given, edit):
    monkeypatch.setenv(repository.VARIABLE, given)
    monkeypatch.delenv("LLMNOTES_SITE_URL", raising=False)
    config = load_config(str(ROOT / "mkdocs.yml"))
    assert (config.repo_url or "") == given
    assert config.edit_uri == edit
    assert not config.site_url


@pytest.fixture
def two_files(site):
    site.write("src/one.py", "ONE = 1\n")
    return site


@pytest.fixture
def nobodys(two_files):
    """The same, where no repository is known."""
    config = two_files.root / "mkdocs.yml"
    text = config.read_text()
    config.write_text(
        re.sub(r"^(repo_url|edit_uri):.*\n", "", text, flags=re.M)
    )
    return two_files


def words(html):
    return re.sub("<[^>]*>", "", html)


def test_with_an_address_the_words_and_links_are_it(two_files):
    html = two_files.html("page", LINKS)
    base = "https://example.org/repository"
    assert f"git clone {base} book" in words(html)
    assert html.count(f'href="{base}/blob/main/src/one.py"') == 2
    assert f'href="{base}/tree/main/src"' in html
    assert not (two_files.root / "site/source").exists()


def test_without_one_the_words_stay_and_links_lead_to_copies(nobodys):
    html = nobodys.html("deep__page", LINKS)
    assert "git clone &lt;address of this repository&gt; book" in words(html)
    assert html.count('href="../../source/src/one.py.txt"') == 2
    assert "<span>a folder</span>" in html
    copy = nobodys.root / "site/source/src/one.py.txt"
    assert copy.read_text() == "ONE = 1\n"


def test_without_one_code_by_symbol_links_to_a_copy(nobodys):
    html = nobodys.html("page", '# T\n\n```python\n--8<-- "one:ONE"\n```\n')
    assert '<a href="../source/src/one.py.txt" title="ONE in src/one' in html


def test_a_link_to_a_file_that_is_not_there_ends_the_build(two_files):
    said = two_files.failure("page", "# T\n\n[x](repository:src/two.py)\n")
    assert said == "no file 'src/two.py' in the repository"


def test_no_file_names_an_address_that_was_invented():
    files = [ROOT / f for f in ("README.md", "CITATION.cff", "pyproject.toml")]
    files += [ROOT / "mkdocs.yml", *ROOT.glob("docs/**/*.md")]
    invented = re.compile(r"(github|gitlab)\.\w+/llmnotes|llmnotes\.\w+\.io")
    assert [f.name for f in files if invented.search(f.read_text())] == []
