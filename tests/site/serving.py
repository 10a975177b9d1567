"""The built site over HTTP, compressed as a web server would send it."""

import contextlib
import functools
import gzip
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

from llmnotes._site import book

ROOT = Path(__file__).parents[2]
SITE = ROOT / "site"
SOURCES = ("docs", "overrides", "src", "tests", "mkdocs.yml")
TEXT = {".html", ".css", ".js", ".json", ".svg", ".txt", ".xml"}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


def chromium() -> str | None:
    """Where a Chromium is: $CHROMIUM first, then the usual names."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, names)), None
    )


def pages() -> list[str]:
    """The address of every page, relative to the site: "" is home."""
    docs = ROOT / "docs"
    found = [
        p.relative_to(docs)
        for p in sorted([*docs.rglob("*.md"), *docs.glob("notebooks/*.py")])
        if "includes" not in p.parts
    ]
    return [
        f"{p.parent}/".removeprefix("./")
        if p.stem == "index"
        else f"{p.with_suffix('').as_posix()}/"
        for p in found
    ]


def source(url: str) -> Path:
    """Where a page is written, Markdown or notebook."""
    stem = ROOT / "docs" / (url.rstrip("/") or "index")
    places = [stem.with_suffix(".md"), stem / "index.md"]
    return next(filter(Path.exists, places), stem.with_suffix(".py"))


def chapters() -> list[str]:
    """The addresses of the written chapters, in reading order."""
    return [f"{key}/" for key, c in book.book(ROOT).items() if c.written]


def notebooks() -> list[str]:
    """The addresses of the notebooks' pages."""
    return [page for page in pages() if page.startswith("notebooks/")]


def build_if_older() -> Path:
    """Build the site unless it is newer than everything it is made from."""
    built = SITE / "sitemap.xml"
    files = [
        f
        for name in SOURCES
        for f in [ROOT / name, *(ROOT / name).rglob("*")]
        if f.is_file() and "__pycache__" not in f.parts
    ]
    newest = max(f.stat().st_mtime for f in files)
    if not built.exists() or built.stat().st_mtime < newest:
        subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", "--strict"],
            cwd=ROOT,
            check=True,
        )
    return SITE


@functools.cache
def packed(path: Path, changed: float) -> bytes:
    """Compress a file once; `changed` is its time of change."""
    return gzip.compress(path.read_bytes(), 6)


def weight(url: str) -> int:
    """How many bytes of body go over the wire for an address of the site."""
    path = SITE / urlsplit(url).path
    path = path / "index.html" if path.is_dir() else path
    if not path.exists():
        return 0
    if path.suffix not in TEXT:
        return path.stat().st_size
    return len(packed(path, path.stat().st_mtime))


class Handler(http.server.SimpleHTTPRequestHandler):
    """Sends text compressed, and says nothing on the terminal."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Keep quiet."""

    def do_GET(self):
        """Send a file; those of text with gzip."""
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if path.suffix not in TEXT or not path.exists():
            return super().do_GET()
        body = packed(path, path.stat().st_mtime)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def serve(folder: Path):
    """Serve the folder at the address that this yields."""
    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
