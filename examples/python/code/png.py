"""PNG with the standard library alone: 8 bits a channel, not interlaced."""

import struct
import zlib

MAGIC = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # grey, RGB, grey with alpha, RGBA


def read(data):
    """The rows of a picture, each a bytearray of RGB. Alpha is dropped."""
    if data[:8] != MAGIC:
        raise ValueError("not a PNG")
    at, packed, header = 8, b"", None
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        at += size + 12
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed += body
    width, height, depth, colour, _, _, interlaced = header
    if depth != 8 or colour not in CHANNELS or interlaced:
        raise ValueError("only 8 bits a channel, without palette, not interlaced")
    step = CHANNELS[colour]
    stride = width * step
    raw = zlib.decompress(packed)
    rows, above = [], bytearray(stride)
    for y in range(height):
        start = y * (stride + 1)
        row = bytearray(raw[start + 1 : start + 1 + stride])
        unfilter(raw[start], row, above, step)
        rows.append(rgb(row, step))
        above = row
    return rows


def unfilter(kind, row, above, step):
    """Undo one of PNG's filters, in place."""
    for i in range(len(row) if kind else 0):
        a = row[i - step] if i >= step else 0
        b = above[i]
        if kind == 1:
            guess = a
        elif kind == 2:
            guess = b
        elif kind == 3:
            guess = (a + b) // 2
        else:
            c = above[i - step] if i >= step else 0
            p = a + b - c
            pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
            guess = a if pa <= pb and pa <= pc else b if pb <= pc else c
        row[i] = (row[i] + guess) & 255


def rgb(row, step):
    if step == 3:
        return row
    out = bytearray(3 * (len(row) // step))
    for channel in range(3):
        out[channel::3] = row[(channel if step == 4 else 0) :: step]
    return out


def write(rows):
    """A PNG of rows of RGB."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", len(rows[0]) // 3, len(rows), 8, 2, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows), 6)
    return MAGIC + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
