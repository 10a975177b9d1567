"""How `make test` shares the tests out among processes.

A file's tests stay in one process: its fixtures are made once, and the fences
of a page are one namespace. Of the browser's file, which takes longest, those
of one visited page stay together, and they begin.

pytest-xdist's own groups (`--dist loadgroup`) rely on a part of pytest that
pytest 9 does not have, and then share out single tests without a word.
"""

import pytest
from xdist.scheduler import LoadScopeScheduling

BROWSER = "test_browser.py"


def share_of(nodeid):
    """The file of a test; for the browser's the page, too."""
    file, _, name = nodeid.partition("::")
    if not file.endswith(BROWSER):
        return file
    page = name.partition("[")[2].removesuffix("]")
    return f"{file} {page if '::' not in name else ''}".strip()


class Sharing(LoadScopeScheduling):
    """Hands out shares as processes ask for more."""

    def _split_scope(self, nodeid):
        return share_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return Sharing(config, log)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name != BROWSER)
