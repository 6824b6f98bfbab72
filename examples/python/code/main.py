"""Posterise a PNG: few levels for each colour, and blocks over a rectangle.

--levels N       levels of each channel, 2 to 256 (default 6)
--hide X,Y,W,H   a rectangle to make unreadable
"""

import argparse

import png

BLOCK = 16  # pixels: the size of what hides the rectangle


def poster(levels):
    """The new value of each of the 256 values of a channel."""
    return bytes(v * levels // 256 * 255 // (levels - 1) for v in range(256))


def hide(rows, rect):
    """Replace each block of the rectangle by its mean."""
    left, top, width, height = rect
    for y in range(top, min(top + height, len(rows)), BLOCK):
        for x in range(left, left + width, BLOCK):
            block = [
                (row, 3 * i)
                for row in rows[y : min(y + BLOCK, top + height)]
                for i in range(x, min(x + BLOCK, left + width, len(row) // 3))
            ]
            for channel in range(3):
                values = [row[at + channel] for row, at in block]
                mean = sum(values) // max(len(values), 1)
                for row, at in block:
                    row[at + channel] = mean


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--levels", type=int, default=6)
    parser.add_argument("--hide", type=lambda s: [int(n) for n in s.split(",")])
    args = parser.parse_args()

    with open("/in/photo.png", "rb") as f:
        rows = png.read(f.read())
    if args.hide:
        hide(rows, args.hide)
    table = poster(args.levels)
    with open("/out/out.png", "wb") as f:
        f.write(png.write([row.translate(table) for row in rows]))


try:
    main()
except ValueError as e:
    with open("/out/error.txt", "w") as f:  # for Alice, who does not get the traceback
        f.write(str(e))
    raise
