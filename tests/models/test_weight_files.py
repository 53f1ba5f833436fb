"""Weights are found where they should lie, and never used unchecked."""

import hashlib

import pytest

from flowercls.core.errors import CheckpointError, ConfigError
from flowercls.models import weight_files
from flowercls.models.weight_files import find_weights, hash_in_name

CONTENT = b'weights of a network'
DIGEST = hashlib.sha256(CONTENT).hexdigest()
GOOD = f'resnet_tiny-{DIGEST[:8]}.pth'
BAD = 'resnet_tiny-0badf00d.pth'


@pytest.fixture
def weights_dir(tmp_path, monkeypatch):
    """The folder FLOWERCLS_WEIGHTS names; torch's cache is empty and elsewhere."""
    folder = tmp_path / 'weights'
    folder.mkdir()
    monkeypatch.setenv('FLOWERCLS_WEIGHTS', str(folder))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize(
    ('name', 'promised'),
    [
        ('resnet50_8xb32_in1k_20210831-ea4938fc.pth', 'ea4938fc'),
        (f'a-{DIGEST}.pth', DIGEST),
        ('mobilenet_v2_tf_in1k.pth', None),
        ('my_model-20260131.pth', None),  # a date
        ('my_model-20263131.pth', '20263131'),
        ('epoch-1234567.pth', None),
    ],
)
def test_the_hash_that_a_name_promises(name, promised):
    assert hash_in_name(name) == promised


def test_a_path_comes_before_the_folders(weights_dir, tmp_path):
    for folder in (weights_dir, tmp_path):
        (folder / 'plain.pth').write_bytes(CONTENT)
    assert find_weights(str(tmp_path / 'plain.pth')) == tmp_path / 'plain.pth'
    assert find_weights((tmp_path / 'plain.pth').as_uri()) == tmp_path / 'plain.pth'


def test_a_name_is_looked_for_in_our_folder_and_then_in_torchs_cache(weights_dir, tmp_path):
    cache = tmp_path / 'torch' / 'hub' / 'checkpoints'
    cache.mkdir(parents=True)
    (cache / GOOD).write_bytes(CONTENT)
    assert find_weights(GOOD) == cache / GOOD
    assert find_weights(f'https://nowhere.invalid/zoo/{GOOD}') == cache / GOOD
    (weights_dir / GOOD).write_bytes(CONTENT)
    assert find_weights(GOOD) == weights_dir / GOOD
    with pytest.raises(CheckpointError, match=f'somewhere/else/{GOOD} not found'):
        find_weights(f'somewhere/else/{GOOD}')  # another file of that name was not asked for


def test_a_file_without_the_digest_in_its_name_is_refused(weights_dir):
    (weights_dir / BAD).write_bytes(CONTENT)
    with pytest.raises(CheckpointError, match=rf'{BAD}.*{DIGEST}.*0badf00d') as caught:
        find_weights(BAD)
    assert caught.value.exit_code == 4


def test_a_download_is_kept_under_its_name(weights_dir, server):
    server.files[f'/{GOOD}'] = CONTENT
    assert find_weights(f'{server.url}/{GOOD}') == find_weights(f'{server.url}/{GOOD}') == weights_dir / GOOD
    assert [p.name for p in weights_dir.iterdir()] == [GOOD] and (weights_dir / GOOD).read_bytes() == CONTENT
    assert server.asked == [f'/{GOOD}']


def test_a_download_goes_to_torchs_cache_without_a_folder_of_ours(weights_dir, server, tmp_path, monkeypatch):
    monkeypatch.delenv('FLOWERCLS_WEIGHTS')
    server.files[f'/{GOOD}'] = CONTENT
    assert find_weights(f'{server.url}/{GOOD}') == tmp_path / 'torch' / 'hub' / 'checkpoints' / GOOD


def test_of_a_download_with_another_digest_nothing_is_kept(weights_dir, server):
    server.files[f'/{BAD}'] = CONTENT
    with pytest.raises(CheckpointError, match='expected 0badf00d'):
        find_weights(f'{server.url}/{BAD}')
    assert list(weights_dir.iterdir()) == []


def test_a_download_without_a_digest_in_its_name_must_stay_what_it_was(weights_dir, server):
    server.files['/plain.pth'] = CONTENT
    path = find_weights(f'{server.url}/plain.pth')
    assert (weights_dir / 'plain.pth.sha256').read_text() == f'{DIGEST}  plain.pth\n# {server.url}/plain.pth\n'
    assert find_weights('plain.pth') == path
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(CheckpointError, match=r'plain.pth.sha256 says'):
        find_weights('plain.pth')


def test_a_folder_is_no_file_of_weights(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'epoch_2.pth').touch()
    with pytest.raises(CheckpointError, match='is a folder.*epoch_2.pth'):
        find_weights(str(tmp_path / 'run'))


def test_weights_do_not_appear_before_their_digest_is_recorded(weights_dir, server):
    server.files['/plain.pth'] = CONTENT
    (weights_dir / 'plain.pth.sha256').mkdir()  # cannot be written
    with pytest.raises(CheckpointError, match='cannot be downloaded'):
        find_weights(f'{server.url}/plain.pth')
    assert [path.name for path in weights_dir.iterdir()] == ['plain.pth.sha256']


def test_files_of_one_name_at_two_addresses_are_two_files(weights_dir, server):
    server.files |= {f'/{folder}/model.bin': folder.encode() for folder in 'ab'}
    for folder in 'abab':  # downloaded, and found again
        assert find_weights(f'{server.url}/{folder}/model.bin').read_text() == folder
    (weights_dir / 'put here.pth').write_text('by hand')
    assert find_weights(f'{server.url}/c/put here.pth').read_text() == 'by hand'


def test_an_address_does_not_lead_out_of_the_folder(weights_dir, server, tmp_path):
    server.files['/zoo/..%2F..%2Foutside.pth'] = CONTENT
    assert find_weights(f'{server.url}/zoo/..%2F..%2Foutside.pth') == weights_dir / 'outside.pth'
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.parametrize('path', ['zoo/', 'zoo/..', 'zoo/%2E%2E', '..%5Coutside.pth'])
def test_an_address_that_names_no_file_is_refused(weights_dir, server, path, tmp_path):
    server.files[f'/{path}'] = CONTENT
    with pytest.raises((ConfigError, CheckpointError)):
        find_weights(f'{server.url}/{path}')
    assert not list(tmp_path.glob('*.pth')) and not list(weights_dir.iterdir())


@pytest.mark.parametrize('spec', ['~no_such_user/a.pth', f'{"a" * 300}.pth', 'https://[a/a.pth'])
def test_a_path_or_address_that_cannot_be_used_is_named(weights_dir, spec):
    with pytest.raises(CheckpointError, match='a.pth: cannot be read .*Fix: ') as caught:
        find_weights(spec)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize('spec', [f'http://127.0.0.1:9/zoo/{GOOD}', GOOD])
def test_offline_the_message_says_which_file_goes_where(weights_dir, tmp_path, spec):
    with pytest.raises(CheckpointError) as caught:
        find_weights(spec)
    for part in (spec, f'put the file {GOOD} into', str(weights_dir), str(tmp_path / 'torch'), 'load_from=None'):
        assert part in str(caught.value)


def test_torchvisions_weights_by_name(weights_dir, monkeypatch):
    (weights_dir / 'resnet50-0676ba61.pth').write_bytes(CONTENT)
    (weights_dir / 'resnet50-11ad3fa6.pth').write_bytes(CONTENT)
    with pytest.raises(CheckpointError, match='resnet50-0676ba61.pth'):
        find_weights('torchvision://resnet50')
    monkeypatch.setattr(weight_files, 'sha256_of', lambda path: path.stem.partition('-')[2].ljust(64, '0'))
    assert find_weights('torchvision://resnet50').name == 'resnet50-0676ba61.pth'
    assert find_weights('torchvision://resnet50.imagenet1k_v2').name == 'resnet50-11ad3fa6.pth'
    assert find_weights('torchvision://resnet50.default').name == 'resnet50-11ad3fa6.pth'  # torchvision's newest


@pytest.mark.parametrize(
    ('spec', 'said'),
    [('torchvision://resnet51', 'resnet50'), ('torchvision://resnet50.imagenet1k_v9', 'imagenet1k_v1, imagenet1k_v2')],
)
def test_unknown_names_of_torchvision_are_answered_with_known_ones(weights_dir, spec, said):
    with pytest.raises(ConfigError, match=said):
        find_weights(spec)
