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


def read_rgb(path):
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)  # upright
    if image.mode.startswith('I'):  # 16 bits to 8
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:  # on white
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    return np.asarray(image.convert('RGB'))


if __name__ == '__main__':
    if len(sys.argv) == 1 or sys.argv[1].startswith('-'):
        print(__doc__)
        sys.exit(0 if sys.argv[1:] in (['-h'], ['--help']) else 2)
    model = onnxruntime.InferenceSession(Path(__file__).with_name('model.onnx'), providers=['CPUExecutionProvider'])
    classes = json.loads(model.get_modelmeta().custom_metadata_map['classes'])
    exit_code = 0
    for path in sys.argv[1:]:
        try:
            probabilities = model.run(['probabilities'], {'photos': read_rgb(path)[None]})[0][0]
        except OSError as error:
            print(f'{path}: {error}. Fix: name a photo, such as a JPEG or PNG file{HEIC_FIX}.', file=sys.stderr)
            exit_code = 3  # of a photo that cannot be read
            continue
        best = probabilities.argsort()[::-1][:3]
        print(f'{path}: ' + ', '.join(f'{classes[k]} {probabilities[k]:.1%}' for k in best))
    sys.exit(exit_code)
