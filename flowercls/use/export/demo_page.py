"""A page to try a model: one HTML file with the model, the web runtime and the model card inside.

The page needs no server and fetches nothing, which its Content-Security-Policy enforces. `web/` holds its template, its
script and the runtime (onnxruntime-web); ``web/README.md`` says how to renew that.
"""

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from PIL import ImageColor

from flowercls.core import palette
from flowercls.core.files import atomic_write
from flowercls.data.image_formats import MAX_DECODED_PIXELS, MAX_FILE_BYTES
from flowercls.use.model import MAX_RATIO

PART_BYTES = 3 << 20  # of a parcel in one element: a browser limits the length of a text; divisible by 3
LIGHT = {**palette.LIGHT_PAGE, 'bar': palette.BLUE, 'on-bar': palette.WHITE}
DARK = {**palette.DARK_PAGE, 'bar': palette.SKY, 'on-bar': palette.BLACK}
# Of calibration.json; the arrays are in the model already.
CALIBRATION_KEYS = ('n', 'temperature', 'threshold', 'threshold_reason', 'none_of_these')
NONE_OF_THESE_KEYS = ('limit', 'false_alarms', 'false_alarms_interval', 'found')


def write_page(
    model: bytes, facts: dict, calibration: dict | None, card: str, path: Path, steps: Sequence[dict] = ()
) -> None:
    """Write the page of a model, atomically.

    Args:
        model: An ONNX file of ``export --format onnx``; outputs ``class_maps`` and ``distance`` are used if there.
        facts: Of the model, see `TorchModel.facts`.
        calibration: Content of calibration.json; None without one.
        card: The model card, Markdown.
        path: Of the HTML file; its folder must exist.
        steps: The test pipeline, which says where a class map lies in the photo. Each is ``{'rule': ..., 'size': ...}``
            with the rule ``exact``, ``short``, ``long`` or ``shrink`` of a resize, or ``crop``. Without any the whole
            photo is seen.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    web = files('flowercls.use.export') / 'web'
    text = {name: (web / f'page.{name}').read_text(encoding='utf-8') for name in ('html', 'css', 'js')}
    style = _filled(text['css'], light=_variables(LIGHT), dark=_variables(DARK))
    heat = [ImageColor.getrgb(colour) for colour in palette.HEAT]
    # A browser decodes a photo at its full size, so the page takes only those that need no reduction.
    limits = {'max_pixels': MAX_DECODED_PIXELS, 'max_file_bytes': MAX_FILE_BYTES, 'max_ratio': MAX_RATIO}
    shares = [palette.HEAT_OPACITY, palette.HEAT_OPAQUE_FROM, palette.UNSEEN_LIGHT]
    script = _filled(text['js'], **limits, heat=json.dumps(heat), heat_shares=json.dumps(shares))
    parcels = {
        'runtime': (web / 'ort.wasm.bundle.min.mjs.gz').read_bytes(),
        'wasm': (web / 'ort-wasm-simd-threaded.wasm.gz').read_bytes(),
        'model': gzip.compress(model, mtime=0),
    }
    elements = [element for name, packed in parcels.items() for element in _elements(name, packed)]
    notices = base64.b64encode((web / 'ThirdPartyNotices.txt.gz').read_bytes()).decode()
    page = _filled(
        text['html'],
        policy=_policy(script, style),
        title=html.escape(facts['name']),
        style=style,
        licence=html.escape((web / 'LICENSE').read_text(encoding='utf-8')),
        content=_json({'facts': facts, 'calibration': _shown(calibration), 'card': card, 'steps': list(steps)}),
        engine=(web / 'engine.js').read_text(encoding='utf-8'),
        script=script,
        parcels='\n'.join([f'<script type="text/plain" class="notices">{notices}</script>', *elements]),
    )
    with atomic_write(path) as file:
        file.write(page)


def _filled(template: str, **parts) -> str:
    """Return a template with ``@@name@@`` replaced; what is put in is not looked at again."""
    return re.sub('@@([a-z_]+)@@', lambda match: str(parts[match[1]]), template)


def _variables(colours: dict[str, str]) -> str:
    return ' '.join(f'--{name}: {colour};' for name, colour in colours.items())


def _policy(script: str, style: str) -> str:
    """Return a Content-Security-Policy: this very script and style, code that the page itself holds, no network."""
    script_hash, style_hash = (
        base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() for content in (script, style)
    )
    return (
        f"default-src 'none'; script-src 'sha256-{script_hash}' blob: 'wasm-unsafe-eval'; worker-src blob:; "
        f"style-src 'sha256-{style_hash}'; img-src blob:; base-uri 'none'; form-action 'none'"
    )


def _json(content: dict) -> str:
    """Return JSON that cannot end the element it stands in."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False).replace('<', '\\u003c')


def _elements(name: str, packed: bytes) -> Iterator[str]:
    """Yield a gzip file as elements with its parts in base64; ``data-size`` is the length unpacked."""
    size = int.from_bytes(packed[-4:], 'little')  # RFC 1952, 2.3.1: ISIZE
    for start in range(0, len(packed), PART_BYTES):
        text = base64.b64encode(packed[start : start + PART_BYTES]).decode()
        yield f'<script type="text/plain" class="parcel" data-name="{name}" data-size="{size}">{text}</script>'


def _shown(calibration: dict | None) -> dict | None:
    if calibration is None:
        return None
    shown = {key: calibration.get(key) for key in CALIBRATION_KEYS}
    if none := shown['none_of_these']:
        shown['none_of_these'] = {key: none.get(key) for key in NONE_OF_THESE_KEYS}
    return shown
