"""What the tests of tokenizers share."""

import pytest

from llmnotes.foundations.tokenizers import ByteBPE


@pytest.fixture(scope="module", autouse=True)
def always_compiled():
    """Short texts too go through the compiled loop, which is on trial."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ByteBPE, "few", 0)
        yield
