"""The README's lines of Python run as they stand there, on a small run in place of the one they name."""

import re
from pathlib import Path

README = (Path(__file__).parent.parent / 'README.md').read_text(encoding='utf-8')


def test_the_lines_of_python_run(trained_run, drawn_root, tmp_path, monkeypatch):
    (block,) = [text for text in re.findall(r'```python\n(.*?)```', README, re.DOTALL) if 'flowercls' in text]
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'work_dirs').mkdir()
    Path('work_dirs/resnet50_flower').symlink_to(trained_run[1])
    Path('photo.jpg').symlink_to(next((drawn_root / 'val_set/rose').iterdir()))
    *lines, last = [line for line in block.splitlines() if line.strip()]
    names = {}
    exec('\n'.join(lines), names)
    answer = eval(last, names)
    assert set(answer.scores) == {'daisy', 'dandelion', 'rose', 'sunflower', 'tulip'}
    assert sum(answer.scores.values()) > 0.999
