"""Posterise a picture: few levels for each colour, and blocks over a rectangle.

--levels N       levels of each channel, 2 to 256 (default 6)
--hide X,Y,W,H   a rectangle to make unreadable
"""

import argparse

from PIL import Image, ImageStat

BLOCK = 16  # pixels: the size of what hides the rectangle


def hide(picture, rect):
    """Replace each block of the rectangle by its mean."""
    left, top, width, height = rect
    right, bottom = min(left + width, picture.width), min(top + height, picture.height)
    for y in range(top, bottom, BLOCK):
        for x in range(left, right, BLOCK):
            box = (x, y, min(x + BLOCK, right), min(y + BLOCK, bottom))
            stat = ImageStat.Stat(picture.crop(box))
            mean = tuple(int(s) // n for s, n in zip(stat.sum, stat.count))
            picture.paste(mean, box)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--levels", type=int, default=6)
    parser.add_argument("--hide", type=lambda s: [int(n) for n in s.split(",")])
    args = parser.parse_args()

    picture = Image.open("/in/photo.png").convert("RGB")
    if args.hide:
        hide(picture, args.hide)
    table = [v * args.levels // 256 * 255 // (args.levels - 1) for v in range(256)]
    picture.point(table * 3).save("/out/out.png")


try:
    main()
except OSError as e:
    with open("/out/error.txt", "w") as f:  # for Alice, who does not get the traceback
        f.write(str(e))
    raise
