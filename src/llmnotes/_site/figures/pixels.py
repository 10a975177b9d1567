"""Pictures made of pixels inside of a drawing: each is a PNG in its place.

values = grey (rows × columns) or red, green, blue (3 × rows × columns),
         from 0 to 1; what lies outside counts as the border

Their colours are what they show, so they are the same by day and by night.

Sources
- PNG (Portable Network Graphics) Specification, third edition, W3C 2025,
  sections 5 (chunks) and 11 (IHDR, IDAT, IEND).
"""

import base64
import struct
import zlib

import numpy as np

from llmnotes._site.figures.pen import Pen

SIGNATURE = b"\x89PNG\r\n\x1a\n"
RGB, BITS = 2, 8  # PNG's number of true colour, bits of each channel


def put(pen: Pen, x: float, y: float, side: float, values) -> None:
    """Draw pixels as hard squares, `side` wide; (x, y) is the upper left.

    A thin frame shows where a dark picture ends on dark paper.
    """
    rows, columns = np.shape(values)[-2:]
    place = {"x": x, "y": y, "width": side, "height": side * rows / columns}
    held = {"href": address(values), "image_rendering": "pixelated"}
    pen.put("image", **place, **held)
    pen.put("rect", "thin soft", **place)


def address(values) -> str:
    """Return pixels as an address that holds them."""
    return f"data:image/png;base64,{base64.b64encode(png(values)).decode()}"


def png(values) -> bytes:
    """Return pixels as the bytes of a PNG file."""
    values = np.asarray(values, dtype=np.float64)
    grey = values.ndim == 2
    found = np.stack([values] * 3) if grey else values
    pixels = np.rint(found.clip(0, 1) * 255).astype(np.uint8)
    rows, columns = pixels.shape[1:]
    # Each row begins with the number of its filter: 0 for none.
    lines = pixels.transpose(1, 2, 0).reshape(rows, -1)
    lines = np.pad(lines, ((0, 0), (1, 0))).tobytes()
    head = struct.pack(">IIBBBBB", columns, rows, BITS, RGB, 0, 0, 0)
    body = zlib.compress(lines, 9)
    return (
        SIGNATURE
        + _chunk(b"IHDR", head)
        + _chunk(b"IDAT", body)
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + check
