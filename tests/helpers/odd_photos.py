"""Photos as they are found in the world: odd but good ones, and files that are none; tiny, made here, byte by byte.

Unless its name says otherwise, a photo shows four patches, 8x6 pixels each: red and green above, blue and grey below.
The grey is another one in every file, so that no two are copies of each other.
"""

import io
import itertools
import random
import struct
import zlib

import cv2
import numpy as np
from PIL import Image, ImageDraw

SIGNATURE = b'\x89PNG\r\n\x1a\n'
RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)
GREYS = itertools.count(100)
TEXT_BOMB = b'Comment\x00\x00' + zlib.compress(bytes(70_000_000), 9)
ICC_PROFILE = b'no colour profile' * 9


def patches(grey=None):
    """The picture that most files show."""
    rgb = np.zeros((12, 16, 3), np.uint8)
    rgb[:6, :8], rgb[:6, 8:], rgb[6:, :8], rgb[6:, 8:] = RED, GREEN, BLUE, next(GREYS) if grey is None else grey
    return Image.fromarray(rgb)


def textured(number, size=(64, 48)):
    """Photo ``number``, unlike every other one."""
    blocks = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BILINEAR)


def encoded(image, kind='PNG', **options):
    """An image as the bytes of a file."""
    image.save(buffer := io.BytesIO(), kind, **options)
    return buffer.getvalue()


def jpeg(image=None, **options):
    """As a JPEG with hardly any loss."""
    return encoded(image or patches(), 'JPEG', **{'quality': 95, 'subsampling': 0} | options)


def turned(orientation, kind='JPEG'):
    """Lying as a camera stores it, with the EXIF tag that says how it is to be seen."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(exif=exif) if kind == 'JPEG' else encoded(patches(), kind, exif=exif)


def animated(kind, **options):
    """The patches, then two frames of other colours."""
    frames = [Image.new('RGB', (16, 12), colour) for colour in ('white', 'black')]
    return encoded(patches(), kind, save_all=True, append_images=frames, **options)


def chunk(kind, body):
    """One chunk of a PNG."""
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


def png(size, depth, colour, rows, *more):
    """A PNG of raw rows (each begins with its filter byte), with ``more`` chunks before the pixels; None has none."""
    chunks = [(b'IHDR', struct.pack('>2I5B', *size, depth, colour, 0, 0, 0)), *more]
    chunks += [] if rows is None else [(b'IDAT', zlib.compress(rows, 9))]
    return SIGNATURE + b''.join(chunk(*part) for part in [*chunks, (b'IEND', b'')])


def png_16(colour, key=None, low=0xFF):
    """The patches in 16 bits a channel; ``low`` are the lower bits of all values but those that are 0."""
    rgb = np.asarray(patches()).astype('>u2')
    values = {0: rgb[..., :1], 2: rgb, 4: rgb[..., [0, 0]], 6: rgb[..., [0, 1, 2, 0]]}[colour]
    values = np.where(values, values << 8 | low, 0).astype('>u2')
    if colour in (4, 6):
        values[..., -1] = 0xFFFF
        values[:6, :8, -1] = 0  # the red patch cannot be seen
    rows = b''.join(b'\x00' + row.tobytes() for row in values)
    return png((16, 12), 16, colour, rows, *([(b'tRNS', struct.pack(f'>{len(key)}H', *key))] if key else ()))


def see_through(mode):
    """The patches with a red one that cannot be seen."""
    image = patches()
    image.putalpha(Image.fromarray(np.pad(np.zeros((6, 8), np.uint8), ((0, 6), (0, 8)), constant_values=255)))
    return encoded(image.convert(mode))


def bomb(side_px):
    """Black pixels in a file that is a thousandth of them."""
    return png((side_px, side_px // 2), 1, 0, bytes((side_px // 8 + 1) * (side_px // 2)))


def palette(**options):
    """The patches as numbers of colours, 0 to 3."""
    image = Image.fromarray(np.kron(np.array([[0, 1], [2, 3]], np.uint8), np.ones((6, 8), np.uint8)), 'P')
    image.putpalette([*RED, *GREEN, *BLUE, *(3 * [next(GREYS)])])
    return encoded(image, **options)


def overwritten(content, start, patch):
    """``content`` with other bytes in one place."""
    return content[:start] + patch + content[start + len(patch) :]


def broken_files():
    """Files of which no photo can be made, or none that is worth it."""
    whole, whole_png = jpeg(textured(0)), encoded(textured(1))
    pixels = whole_png.index(b'IDAT')
    small = encoded(Image.new('L', (8, 8), next(GREYS)))
    return {
        'half.jpg': whole[: len(whole) // 2],
        'without its last two bytes.jpg': whole[:-2],
        '20 bytes.jpg': whole[:20],
        'half.png': whole_png[: len(whole_png) // 2],
        'without pixels.png': png((16, 12), 8, 2, None),
        'wrong checksum.png': overwritten(whole_png, pixels + 20, bytes([whole_png[pixels + 20] ^ 1])),
        'one bad byte.png': overwritten(small, 25, b'\x07'),  # of the header: no such kind of colour
        'empty.jpg': b'',
        'text.jpg': b'water on Mondays',
        'web page.jpg': b'<!DOCTYPE html><html>404</html>',
        'colours in floats.tif': cv2.imencode('.tif', np.full((12, 16, 3), 0.5, np.float32))[1].tobytes(),
        'icon.jpg': encoded(textured(2, (16, 16)), 'ICO'),
        'phone.heic': b'\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic',
        'drawing.svg': b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
        '1x1.png': encoded(Image.new('RGB', (1, 1))),
        '1x2000.png': encoded(Image.new('RGB', (1, 2000))),
        '288 megapixels.png': bomb(24_000),
        '512 megapixels.png': bomb(32_000),
        '3600 megapixels.png': png((60_000, 60_000), 8, 2, b''),
        'text bomb.png': png((16, 12), 8, 0, bytes(12 * 17), (b'zTXt', TEXT_BOMB)),
    }


def good_files():
    """Odd photos that a careful decoder reads."""
    whole = jpeg(textured(3))
    garbage = random.Random(0).randbytes(40).replace(b'\xff', b'')
    return {
        'garbage in the middle.jpg': overwritten(whole, len(whole) // 2, garbage),
        'really a png.jpg': encoded(patches()),
        'really a jpeg.png': jpeg(),
        'no extension': encoded(patches()),
        'cmyk.jpg': jpeg(patches().convert('CMYK')),
        '16-bit grey.png': png_16(0),
        '16-bit colour.png': png_16(2),
        '16-bit colour and alpha.png': png_16(6),
        '16-bit grey and alpha.png': png_16(4),
        '16-bit grey with a clear one.png': png_16(0, key=[0xC8FF]),
        '16-bit with a clear colour.png': png_16(2, key=[0xC8FF, 0, 0]),
        'palette.png': palette(),
        'palette with a clear colour.png': palette(transparency=0),
        'rgba.png': see_through('RGBA'),
        'la.png': see_through('LA'),
        'grey.png': encoded(patches().getchannel(0)),
        '1-bit.png': encoded(patches().getchannel(0).point(lambda value: 255 * (value > 150), '1')),
        'animated.gif': animated('GIF'),
        'animated.png': animated('PNG'),
        'animated.webp': animated('WEBP', lossless=True),
        'lying.jpg': turned(6),
        'tiff.tif': encoded(patches(), 'TIFF'),
        'bmp.bmp': encoded(patches(), 'BMP'),
        'ppm.ppm': encoded(patches(), 'PPM'),
        'jp2.jp2': encoded(patches(), 'JPEG2000'),
        'avif.avif': encoded(patches(), 'AVIF', quality=100, subsampling='4:4:4'),
        'bad colour profile.png': encoded(patches(), icc_profile=ICC_PROFILE),
        'more after its end.jpg': jpeg() + b'what some camera had to say' * 9,
    }


def more_good_files():
    """Further odd ones, to compare the ways in which a photo is read."""
    files = {f'turned {number}.jpg': turned(number) for number in (2, 3, 4, 5, 7, 8)}
    files |= {'turned.png': turned(6, 'PNG'), 'turned.tif': turned(8, 'TIFF')}
    files |= {'phone.jpg': encoded(patches(), 'MPO', save_all=True, append_images=[patches()])}
    files |= {'progressive.jpg': jpeg(progressive=True), 'large.png': encoded(textured(4, (300, 260)))}
    return files


def mutants(number, seed=0):
    """That many JPEGs and PNGs, each damaged in another place."""
    draw = random.Random(seed)
    for index in range(number):
        image = textured(1000 + index)
        whole = [jpeg(image), encoded(image), jpeg(image, progressive=True), encoded(image.quantize(16))][index % 4]
        yield f'{index}.{"png" if index % 2 else "jpg"}', DAMAGES[index // 4 % len(DAMAGES)](whole, draw)


def flip_bits(content, draw):
    """Up to five bits."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 5)):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(content, draw):
    return content[: draw.randrange(len(content))]


def zero_block(content, draw):
    start = draw.randrange(len(content))
    return overwritten(content, start, bytes(min(draw.choice([4, 64, 512]), len(content) - start)))


def insert_bytes(content, draw):
    place = draw.randrange(len(content))
    return content[:place] + draw.randbytes(draw.randint(1, 60)) + content[place:]


def swap_parts(content, draw):
    """Chunks of a PNG, segments of a JPEG's header, in another order."""
    parts = list(png_parts(content) if content.startswith(SIGNATURE) else jpeg_parts(content))
    one, other = draw.sample(range(1, len(parts)), 2)
    parts[one], parts[other] = parts[other], parts[one]
    return b''.join(parts)


def change_a_field(content, draw):
    """A byte in a header, with the checksum that fits it."""
    if not content.startswith(SIGNATURE):
        return flip_bits(content[:160], draw) + content[160:]
    parts = list(png_parts(content))
    number = draw.randrange(1, len(parts) - 1)
    body = bytearray(parts[number][8:-4])
    body[draw.randrange(min(len(body), 13))] ^= 1 << draw.randrange(8)
    parts[number] = chunk(parts[number][4:8], bytes(body))
    return b''.join(parts)


def png_parts(content):
    """Signature, then chunk after chunk."""
    yield content[:8]
    start = 8
    while start < len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4])
        yield content[start:end]
        start = end


def jpeg_parts(content):
    """Start marker, then the header's segments, then all the rest."""
    yield content[:2]
    start = 2
    while content[start + 1] != 0xDA:
        end = start + 2 + int.from_bytes(content[start + 2 : start + 4])
        yield content[start:end]
        start = end
    yield content[start:]


DAMAGES = (flip_bits, cut, zero_block, insert_bytes, swap_parts, change_a_field)


def draw(path, seed=0, size=(32, 24)):
    path.parent.mkdir(parents=True, exist_ok=True)
    textured(seed, size).save(path)


def scene(seed):
    """A picture of 240x180 pixels with 120 discs and boxes at random: many points that can be found again."""
    rng = np.random.default_rng(seed)
    image = Image.new('RGB', (240, 180), (120, 130, 110))
    pen = ImageDraw.Draw(image)
    for number in range(120):
        x, y, width, height = rng.integers((0, 0, 6, 6), (240, 180, 40, 40))
        colour = tuple(rng.integers(20, 236, 3).tolist())
        (pen.ellipse if number % 2 else pen.rectangle)((x, y, x + width, y + height), colour)
    return image
