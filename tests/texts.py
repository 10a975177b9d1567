"""Texts that must be downloaded: a test asks with a fixture, or gets none.

The promise is that nobody needs a network. A test that reads tiny Shakespeare
takes the fixture of that name, as an argument or by `usefixtures`. That
marks it `text`; without the text it is skipped, with a sentence that says how
to get it. Any other test that reads the text fails, also where it is there.
"""

import contextlib

import pytest

from llmnotes import corpora

NAME = "tiny_shakespeare"


@pytest.fixture(scope="session")
def tiny_shakespeare():
    """The whole text, or a skip with the way to get it."""
    if corpora.find(NAME) is None:
        pytest.skip(
            f"{NAME} is not on this machine: get it with `llmnotes data get "
            f"{NAME}`, or set LLMNOTES_DATA_DIR to the folder that holds it"
        )
    return corpora.text(NAME)


def pytest_collection_modifyitems(items):
    """Mark what the fixture serves, so that `-m text` finds it."""
    for item in items:
        if NAME in getattr(item, "fixturenames", ()):
            item.add_marker("text")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Keep the text from those who did not ask for it."""
    asked = item.get_closest_marker("text")
    with contextlib.nullcontext() if asked else hidden():
        return (yield)


@contextlib.contextmanager
def hidden():
    """Make reading the text a failure that names the fixture."""
    find = corpora.find

    def refuse(name):
        if name == NAME:
            raise AssertionError(
                f"this reads {name}, which not everyone has: take the "
                f"fixture {name}, or python_reference"
            )
        return find(name)

    corpora.find = refuse
    try:
        yield
    finally:
        corpora.find = find
