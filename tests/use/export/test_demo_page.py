import base64
import csv
import gzip
import hashlib
import io
import json
import re
import time
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flowercls.evaluate.predictions import unescaped
from flowercls.use.export.demo_page import write_page
from helpers.browser import Page, chromium

WEB = Path(__file__).parents[3] / 'flowercls/use/export/web'
# Photos of a mean colour far from grey are told by it. Names: markup, a formula, other scripts, a long one.
NAMES = ['red</script><img src=x onerror=alert(1)>', '=HYPERLINK("x")', 'أزرق', 'dunkelgrün ' * 12]
CARD = '---\nlicense: mit\n---\n# Card\n\n- one </script><b>\n\n| a | b |\n|---|---|\n| 1 | 2 |\n'
CALIBRATION = {
    'n': 100,
    'temperature': 0.5,
    'threshold': {'confidence': 0.6, 'right': 0.99, 'right_interval': [0.9, 1.0], 'answered': 0.8,
                  'answered_interval': [0.7, 0.9]},
    'none_of_these': {'limit': 3.0, 'false_alarms': 0.01, 'false_alarms_interval': [0.0, 0.05],
                      'found': {'drawings': [3, 4]}, 'means': 'AAAA'},
}  # fmt: skip
STEPS = [{'rule': 'short', 'size': (8,)}, {'rule': 'crop', 'size': (8, 8)}]


def facts_of(names=NAMES):
    figures = {'top1': 87.0, 'top1_interval': [84.0, 89.5], 'n': 100}
    return {'name': 'a<b', 'classes': names, 'figures': figures, 'image_size': [8, 8], 'sha256': 'ab' * 32}


class Elements(HTMLParser):
    """Start tags with their attributes, and the text of each element that holds only text."""

    def __init__(self, text):
        super().__init__()
        self.found, self.closed = [], True
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), []))
        self.closed = False

    def handle_data(self, data):
        if self.found and not self.closed:
            self.found[-1][2].append(data)

    def handle_endtag(self, tag):
        self.closed = True

    def texts(self, tag, **attributes):
        return [''.join(text) for found, attrs, text in self.found
                if found == tag and attributes.items() <= attrs.items()]  # fmt: skip


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """The text of a page, and its elements."""
    path = tmp_path_factory.mktemp('page') / 'page.html'
    write_page(b'a model' * 1000, facts_of(), CALIBRATION, CARD, path, STEPS)
    text = path.read_text(encoding='utf-8')
    return text, Elements(text)


def test_names_and_card_stay_text(page):
    text, elements = page
    assert {tag for tag, _, _ in elements.found}.isdisjoint({'b', 'iframe', 'object'})
    assert all('onerror' not in attributes for _, attributes, _ in elements.found)
    assert len(re.findall('</script', text)) == len(elements.texts('script'))
    (content,) = elements.texts('script', id='content')
    content = json.loads(content)
    assert (content['facts'], content['card']) == (facts_of(), CARD)
    assert elements.texts('title') == ['a<b']


def test_the_policy_allows_this_script_and_style_and_no_network(page):
    _, elements = page
    (policy,) = (attributes['content'] for _, attributes, _ in elements.found if 'http-equiv' in attributes)
    rules = {name: sources for name, *sources in (rule.split() for rule in policy.split(';'))}
    (script,) = (''.join(text) for tag, attributes, text in elements.found if tag == 'script' and not attributes)
    for name, content in (('script-src', script), ('style-src', elements.texts('style')[0])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in rules[name]
    assert rules['default-src'] == ["'none'"]
    allowed = {source for sources in rules.values() for source in sources if 'sha256' not in source}
    assert allowed == {"'none'", 'blob:', "'wasm-unsafe-eval'"}


def test_no_address_and_no_attribute_that_would_fetch(page):
    text, elements = page
    outside = re.sub(r'(?s)<script type="text/plain".*?</script>', '', text)
    assert re.findall(r'https?:', outside) == []
    assert not any({'src', 'href', 'srcset', 'style'} & set(attributes) for _, attributes, _ in elements.found)


def test_what_is_packed_comes_out_again(page):
    _, elements = page
    packed = {}
    for tag, attributes, text in elements.found:
        if tag == 'script' and attributes.get('class') == 'parcel':
            part = base64.b64decode(''.join(text))
            name = attributes['data-name']
            packed[name] = (packed.get(name, (b'',))[0] + part, int(attributes['data-size']))
    unpacked = {name: gzip.decompress(content) for name, (content, _) in packed.items()}
    assert {name: size for name, (_, size) in packed.items()} == {name: len(each) for name, each in unpacked.items()}
    assert unpacked['model'] == b'a model' * 1000
    assert unpacked['wasm'].startswith(b'\0asm')
    version = re.search(rb'ONNX Runtime Web v([\d.]+)', unpacked['runtime'])[1].decode()
    assert f'onnxruntime-web {version}' in (WEB / 'README.md').read_text(encoding='utf-8')
    (notices,) = elements.texts('script', **{'class': 'notices'})
    assert b'THIRD PARTY' in gzip.decompress(base64.b64decode(notices))
    assert 'MIT License' in elements.texts('pre')[0]


def test_only_what_the_page_shows_of_the_calibration_is_in_it(page):
    (content,) = page[1].texts('script', id='content')
    assert 'means' not in json.loads(content)['calibration']['none_of_these']


def test_a_wheel_holds_the_files_of_the_page():
    project = tomllib.loads((WEB.parents[3] / 'pyproject.toml').read_text(encoding='utf-8'))
    patterns = project['tool']['setuptools']['package-data']['flowercls.use.export']
    assert {path.name for pattern in patterns for path in WEB.parent.glob(pattern)} == {p.name for p in WEB.iterdir()}


# ---------------------------------------------------------------- in a browser

GRAPH = """
<ir_version: 8, opset_import: ["" : 18]>
colours (uint8[N, H, W, 3] photos) => (float[N, C] probabilities, float[N, C, h, w] class_maps, float[N] distance) {
  floats = Cast <to = 1> (photos)
  scale = Constant <value_float = 64.0> ()
  scaled = Div (floats, scale)
  image = Transpose <perm = [0, 3, 1, 2]> (scaled)
  sizes = Constant <value_ints = [4, 4]> ()
  cells = Resize <mode = "linear", antialias = 1, axes = [2, 3]> (image, , , sizes)
  class_maps = Conv (cells, weights)
  logits4 = GlobalAveragePool (class_maps)
  axes = Constant <value_ints = [2, 3]> ()
  logits = Squeeze (logits4, axes)
  probabilities = Softmax (logits)
  one = Constant <value_ints = [1]> ()
  distance = ReduceMax <keepdims = 0> (logits, one)
}
"""
WEIGHTS = np.float32([[1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1], [0.1, 0.1, 0.1]])[:, :, None, None]
# As the page decodes, but in one piece.
PIXELS = """(async () => {
  const bitmap = await createImageBitmap(window.chosen[%d], {
    colorSpaceConversion: 'none', imageOrientation: 'from-image', premultiplyAlpha: 'none'})
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d')
  context.fillStyle = 'white'
  context.fillRect(0, 0, bitmap.width, bitmap.height)
  context.drawImage(bitmap, 0, 0)
  const rgba = Array.from(context.getImageData(0, 0, bitmap.width, bitmap.height).data)
  return {width: bitmap.width, height: bitmap.height, rgb: rgba.filter((_, i) => i %% 4 < 3)}
})()"""
KEEP_FILES = "addEventListener('change', event => { window.chosen = [...event.target.files] }, true)"
IS_DONE = "document.getElementById('summary').textContent.includes('photos')"


@pytest.fixture(scope='module')
def model():
    onnx = pytest.importorskip('onnx')
    graph = onnx.parser.parse_model(GRAPH)
    graph.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHTS, 'weights'))
    onnx.checker.check_model(graph, full_check=True)
    return graph.SerializeToString()


@pytest.fixture
def photos(tmp_path):
    """Six files: drawn photos, one turned by its EXIF, one transparent, one with an odd name, and two that fail."""
    rng = np.random.default_rng(0)

    def draw(name, colour, size, mode='RGB', **options):
        pixels = np.clip(rng.normal(colour, 20, (*size, len(colour))), 0, 255).astype(np.uint8)
        Image.fromarray(pixels, mode).save(tmp_path / name, **options)
        return tmp_path / name

    turned = Image.Exif()
    turned[0x0112] = 6
    paths = [
        draw('red.jpg', (220, 40, 40), (60, 90), exif=turned),
        draw('=1+1<b>.png', (0, 255, 0), (2100, 30)),  # read in two pieces
        draw('through.png', (40, 40, 220, 128), (50, 50), 'RGBA'),
        draw('grey.webp', (90, 90, 90), (64, 64), lossless=True),
    ]
    (tmp_path / 'phone.heic').write_bytes(b'\0\0\0\x18ftypheic' + bytes(50))
    (tmp_path / 'notes.jpg').write_text('no photo')
    return [*paths, tmp_path / 'phone.heic', tmp_path / 'notes.jpg']


def saved_text(path):
    """The text of a file that the browser is about to save."""
    for _ in range(100):
        if path.is_file() and path.stat().st_size:
            return path.read_text(encoding='utf-8')
        time.sleep(0.1)
    raise TimeoutError(path)


@pytest.mark.slow  # a browser starts and compiles 14 MB of WebAssembly
@pytest.mark.skipif(chromium() is None, reason='needs Chromium')
@pytest.mark.parametrize('has_worker', [True, False])
def test_a_browser_answers_as_onnxruntime(model, photos, tmp_path, has_worker):
    onnxruntime = pytest.importorskip('onnxruntime')
    write_page(model, facts_of(), CALIBRATION, CARD, tmp_path / 'page.html', STEPS)
    with Page(tmp_path / 'profile') as page:
        if not has_worker:
            page.call('Page.addScriptToEvaluateOnNewDocument', source='delete window.Worker')
        page.call('Browser.setDownloadBehavior', behavior='allow', downloadPath=str(tmp_path))
        page.open(tmp_path / 'page.html')
        page.evaluate(KEEP_FILES)
        page.choose_files('#files', photos)
        page.wait_for(IS_DONE)
        cards = page.evaluate("[...document.querySelectorAll('article')].map(card => card.innerText)")
        pixels = [page.evaluate(PIXELS % i) for i in range(4)]
        assert page.evaluate("document.querySelectorAll('b, img[src=x]').length") == 0
        page.evaluate("document.querySelector('.map').click()")
        page.wait_for("!document.querySelector('canvas').hidden")
        page.evaluate("document.getElementById('save').click()")
        table = saved_text(tmp_path / 'predictions.csv')
        requests, messages = list(page.requests), list(page.messages)
        # The policy would refuse even this.
        assert page.evaluate("fetch('data:,x').then(() => 'fetched', () => 'refused')") == 'refused'

    session = onnxruntime.InferenceSession(model)
    expected = []
    for each in pixels:
        rgb = np.array(each['rgb'], np.uint8).reshape(1, each['height'], each['width'], 3)
        scores, _, distance = session.run(None, {'photos': rgb})
        powers = scores[0].astype(float) ** (1 / CALIBRATION['temperature'])
        expected.append([*scores[0], powers.max() / powers.sum(), distance[0]])
    header, *rows = csv.reader(io.StringIO(table, newline=''))
    numbers = [i for i, column in enumerate(header) if column.startswith('score_')]
    numbers += [header.index('confidence'), header.index('distance')]
    assert [[float(row[i]) for i in numbers] for row in rows] == pytest.approx(np.array(expected), abs=0.005)
    assert [unescaped(row[0]) for row in rows] == [path.name for path in photos[:4]]
    assert header[:5] == ['image', 'pred', 'confidence', 'distance', f'score_{NAMES[0]}']
    assert rows[1][0] == "'=1+1<b>.png"
    answers = {'red.jpg': NAMES[0], '=1+1<b>.png': 'none of these', 'through.png': NAMES[2], 'grey.webp': 'unknown'}
    assert {unescaped(row[0]): unescaped(row[1]) for row in rows} == answers
    assert (pixels[0]['width'], pixels[0]['height']) == (60, 90)
    assert [('HEIC' in card, 'no photo' in card) for card in cards[4:]] == [(True, False), (False, True)]
    assert 'Not sure' in cards[3]
    assert [url for url in requests if not url.startswith('blob:')] == [(tmp_path / 'page.html').as_uri()]
    assert not [message for message in messages if 'Content Security' in message or 'Error' in message]
