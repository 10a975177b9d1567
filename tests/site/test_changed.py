"""The browser visits what a branch has changed, and knows what that is."""

import subprocess

import pytest

from tests.site import changed

PAGES = ["", "results/", "a/first/", "a/first_steps/", "a/second/", "about/"]


@pytest.fixture
def repository(tmp_path):
    """A folder with git and a commit on main; call it to commit again."""

    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c"]
        command = ["git", *who, "commit.gpgsign=false", *words]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    def commit(*paths):
        for path in paths:
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"{place.exists()}")
        git("add", "-A")
        git("commit", "--allow-empty", "-m", "one more")

    commit.root, commit.git = tmp_path, git
    git("init", "-b", "main")
    commit("docs/index.md", "docs/a/first.md")
    return commit


def test_on_main_what_the_last_commit_changed(repository):
    repository("docs/about.md")
    repository("docs/index.md", "src/a/second.py")
    assert changed.pages(repository.root, PAGES) == [""]


def test_on_a_branch_what_it_changed_since_it_left_main(repository):
    repository.git("checkout", "-b", "mine")
    repository("docs/a/first.md")
    repository()
    repository.git("checkout", "main")
    repository("docs/about.md")
    repository.git("checkout", "mine")
    (repository.root / "docs/results").mkdir()
    (repository.root / "docs/results/index.md").write_text("not committed")
    assert changed.pages(repository.root, PAGES) == ["results/", "a/first/"]


def test_results_and_drawings_change_the_page_that_shows_them(repository):
    repository("docs/results/a/second.json", "docs/a/first_graph.svg")
    found = changed.pages(repository.root, PAGES)
    assert found == ["a/first/", "a/second/"]


def test_without_git_or_an_earlier_commit_nothing(repository, tmp_path):
    assert changed.pages(repository.root, PAGES) == []
    outside = tmp_path / "outside"
    outside.mkdir()
    (repository.root / ".git").rename(repository.root / "gone")
    assert changed.pages(outside, PAGES) == []
