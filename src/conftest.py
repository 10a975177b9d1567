"""The examples in docstrings are tests: each `>>>` runs."""

from sybil import Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers.rest import DocTestParser

pytest_collect_file = Sybil(
    [DocTestParser()],
    patterns=["*.py"],
    document_types={".py": PythonDocStringDocument},
).pytest()
