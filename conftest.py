"""What every test of the repository sees: package, pages and tests."""

pytest_plugins = [
    "pytester",
    "tests.budget",
    "tests.processes",
    "tests.sampling",
    "tests.simulated",
    "tests.texts",
]
