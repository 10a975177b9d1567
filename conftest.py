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
    "tests.sharing",
    "tests.site.browsing",
]
