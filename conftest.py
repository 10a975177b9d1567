"""What every test of the repository sees: package, pages and tests."""

# The shapes first: they must be there before any module is imported.
pytest_plugins = [
    "tests.shapes",
    "tests.without_cuda",
    "pytester",
    "tests.budget",
    "tests.processes",
    "tests.sampling",
    "tests.simulated",
    "tests.texts",
    "tests.recording",
]


def pytest_addoption(parser):
    """What can be asked of a run besides which tests."""
    parser.addoption(
        "--results",
        choices=("check", "confirm", "write"),
        default="check",
        help="compare results with docs/results where their sources changed;"
        " note there that they came out again; or write new ones",
    )
    parser.addoption(
        "--full",
        action="store_true",
        help="everything, as the weekly run does",
    )
