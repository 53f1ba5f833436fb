"""Classify photos. Usage: python predict.py PHOTO... It needs: pip install onnxruntime numpy pillow.

HEIC, the photos of iPhones, need one more: pip install pillow-heif.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

try:
    from pillow_heif import register_heif_opener
except ImportError:
    HEIC_FIX = '; for a HEIC photo: pip install pillow-heif'
else:
    HEIC_FIX = ''
    register_heif_opener()


FULL = [0, 65535]  # of 16 bits


def read_rgb(path, value_range=()):
    value_range = dict(value_range)
    with Image.open(path) as file:
        deep_colour = ';16' in str(file.tile[:1]) and not file.mode.startswith('I')
        is_32_bit = file.mode == 'I' and file.format not in ('PNG', 'PPM')
        image = ImageOps.exif_transpose(file)  # upright
    if deep_colour and value_range.get('16-bit', FULL) != FULL:
        raise OSError('16-bit colour, whose low bytes only flowercls reads')
    if image.mode[0] in 'IF':  # to 8 bits, by the range of the photos that the model was trained on
        kind = 'float' if image.mode == 'F' else '32-bit' if is_32_bit else '16-bit'
        if kind != '16-bit' and kind not in value_range:
            raise OSError(f'pixels of {kind} values, whose range is not known')
        low, high = value_range.get(kind, FULL)
        values = np.asarray(image)
        if image.mode == 'F':
            values = (np.clip(values.astype(np.float64), low, high) - low) * (255 / (high - low if high > low else 1))
            values = np.nan_to_num(values).round()
        else:
            values = (np.clip(values, low, high).astype(np.int64) - low) * 256 // (high - low + 1)
        image = Image.fromarray(values.astype(np.uint8))
    if image.has_transparency_data:  # on white
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    return np.asarray(image.convert('RGB'))


if __name__ == '__main__':
    if len(sys.argv) == 1 or sys.argv[1].startswith('-'):
        print(__doc__)
        sys.exit(0 if sys.argv[1:] in (['-h'], ['--help']) else 2)
    model = onnxruntime.InferenceSession(Path(__file__).with_name('model.onnx'), providers=['CPUExecutionProvider'])
    metadata = model.get_modelmeta().custom_metadata_map
    classes, value_range = json.loads(metadata['classes']), json.loads(metadata['flowercls']).get('value_range', {})
    exit_code = 0
    for path in sys.argv[1:]:
        try:
            probabilities = model.run(['probabilities'], {'photos': read_rgb(path, value_range)[None]})[0][0]
        except (OSError, Image.DecompressionBombError) as error:
            print(f'{path}: {error}. Fix: name a photo, such as a JPEG or PNG file{HEIC_FIX}.', file=sys.stderr)
            exit_code = 3  # of a photo that cannot be read
            continue
        best = probabilities.argsort()[::-1][:3]
        print(f'{path}: ' + ', '.join(f'{classes[k]} {probabilities[k]:.1%}' for k in best))
    sys.exit(exit_code)
