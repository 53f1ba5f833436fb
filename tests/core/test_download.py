"""Downloads are verified; archives from strangers are unpacked inside the target folder or not at all."""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import shutil
import stat
import tarfile
import zipfile

import pytest

from flowercls.core import download as unpacking
from flowercls.core.download import DownloadError, download, fetch_archive
from flowercls.core.errors import ConfigError, DataError, DiskError
from flowercls.core.files import sha256_of

PHOTO = b'flower' * 1000
PHOTOS = {
    'flower_photos/LICENSE.txt': b'CC-BY',
    'flower_photos/daisy/1.jpg': b'white' * 99,
    'flower_photos/rose/2.jpg': b'red' * 999,
}


def tar_of(files, extra=()):
    """Bytes of a plain tar with ``files`` (name: content) and ``extra`` TarInfos without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return buffer.getvalue()


def zip_of(files, kinds=()):
    """Bytes of a zip; ``kinds`` gives names the file type of their Unix mode."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = dict(kinds).get(name, stat.S_IFREG) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def tar_entry(name, kind, link=''):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.fixture
def target(tmp_path):
    """Where to unpack, two folders deep, so that something written outside is seen."""
    (tmp_path / 'work').mkdir()
    return tmp_path / 'work' / 'raw'


def files_below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def serve(server, content, name='/photos.tgz'):
    server.files[name] = content
    return server.url + name


def refused(url, target, expected, sha256=None, error=DataError):
    """The fetch must fail with ``expected`` in the message and a fix, and leave nothing anywhere."""
    before = files_below(target.parent.parent)
    with pytest.raises(error, match=expected) as caught:
        fetch_archive(url, target, sha256)
    assert str(caught.value).count('Fix:') == 1
    assert files_below(target.parent.parent) == before
    assert not target.exists()


def test_a_file_is_kept_if_its_digest_begins_as_expected(server, tmp_path):
    url, content = serve(server, PHOTO), tmp_path / 'new' / 'w.bin'
    digest = hashlib.sha256(PHOTO).hexdigest()
    assert download(url, content, sha256=digest[:8], record=False) == digest == sha256_of(content)
    assert files_below(tmp_path) == {'new/w.bin': PHOTO}
    with pytest.raises(DownloadError, match='expected 0000'):
        download(url, tmp_path / 'other' / 'w.bin', sha256='0' * 64)
    assert files_below(tmp_path) == {'new/w.bin': PHOTO}


@pytest.mark.parametrize('announces_size', [True, False])
def test_a_file_above_the_limit_is_refused(server, tmp_path, monkeypatch, announces_size):
    server.announces_size = announces_size
    monkeypatch.setattr(unpacking, 'CHUNK_BYTES', 1000)
    url = serve(server, PHOTO)
    monkeypatch.setattr(unpacking, 'MAX_DOWNLOAD_BYTES', 5999)
    with pytest.raises(DownloadError, match='more than 5,999 bytes.*Fix:'):
        download(url, tmp_path / 'w.bin')
    assert files_below(tmp_path) == {}
    monkeypatch.setattr(unpacking, 'MAX_DOWNLOAD_BYTES', 6000)
    download(url, tmp_path / 'w.bin', record=False)
    assert files_below(tmp_path) == {'w.bin': PHOTO}


def test_a_full_disk_is_noticed_before_the_first_byte(server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=5999)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    monkeypatch.setattr(unpacking, '_copy_body', lambda *_: pytest.fail('a byte was read'))
    with pytest.raises(DiskError, match='w.bin: needs 0 MiB.*Fix:'):
        download(serve(server, PHOTO), tmp_path / 'w.bin')


@pytest.mark.parametrize(
    'content',
    [
        gzip.compress(tar_of(PHOTOS)),
        tar_of(PHOTOS),
        bz2.compress(tar_of(PHOTOS)),
        lzma.compress(tar_of(PHOTOS)),
        zip_of(PHOTOS),
    ],
    ids=['tgz', 'tar', 'bz2', 'xz', 'zip'],
)
def test_every_format_gives_the_folder_of_class_folders(server, target, content):
    fetched = fetch_archive(serve(server, content), target)
    assert fetched.path == target / 'flower_photos'
    assert files_below(target) == PHOTOS
    assert fetched.sha256 == hashlib.sha256(content).hexdigest()


def test_class_folders_at_the_top_are_found_and_what_macos_adds_is_left_out(server, target):
    files = {'daisy/1.jpg': b'1', 'rose/2.jpg': b'2', '__MACOSX/daisy/._1.jpg': b'3'}
    for number, content in enumerate((zip_of(files), tar_of(files))):
        place = target.with_name(f'raw{number}')
        assert fetch_archive(serve(server, content, f'/{number}'), place).path == place
        assert set(files_below(place)) == {'daisy/1.jpg', 'rose/2.jpg'}


def test_a_right_digest_is_accepted_in_either_case(server, target):
    content = zip_of(PHOTOS)
    fetched = fetch_archive(serve(server, content), target, hashlib.sha256(content).hexdigest().upper())
    assert not fetched.recorded
    assert files_below(target) == PHOTOS


def test_a_wrong_digest_keeps_nothing(server, target):
    refused(serve(server, zip_of(PHOTOS)), target, 'expected 0000', sha256='0' * 64)


@pytest.mark.parametrize('digest', ['abc', 'g' * 64, '0' * 65])
def test_a_digest_that_is_none_is_refused_before_anything_is_fetched(server, target, digest):
    refused(serve(server, zip_of(PHOTOS)), target, '64 hex digits', sha256=digest, error=ConfigError)
    assert not server.asked


def test_the_first_digest_is_recorded_and_checked_ever_after(server, target):
    url = serve(server, zip_of(PHOTOS))
    first = fetch_archive(url, target)
    assert first.recorded
    [record] = target.parent.glob('raw.download/*photos.tgz.sha256')
    assert record.read_text() == f'{first.sha256}  {record.stem}\n# {url}\n'

    again = fetch_archive(url, target)
    assert (again.recorded, again.sha256, again.path) == (False, first.sha256, first.path)
    assert len(server.asked) == 1, 'what is here and right is not fetched again'

    record.with_suffix('').unlink()
    serve(server, zip_of({'daisy/1.jpg': b'something else'}))
    with pytest.raises(DataError, match=f'{first.sha256}.* delete .*photos.tgz.sha256'):
        fetch_archive(url, target)
    assert files_below(target) == PHOTOS


def test_a_damaged_copy_in_the_cache_is_fetched_again(server, target):
    url = serve(server, zip_of(PHOTOS))
    fetch_archive(url, target)
    [copy] = target.parent.glob('raw.download/*photos.tgz')
    copy.write_bytes(b'damaged')
    fetch_archive(url, target)
    assert copy.read_bytes() == server.files['/photos.tgz']


def test_another_address_with_the_same_file_name_is_not_taken_for_the_first(server, target):
    fetch_archive(serve(server, zip_of(PHOTOS), '/a/photos.zip'), target)
    with pytest.raises(DataError, match='from another archive'):
        fetch_archive(serve(server, zip_of({'tulip/1.jpg': b'1'}), '/b/photos.zip'), target)
    assert files_below(target) == PHOTOS


def test_a_folder_with_other_files_is_left_alone_and_nothing_is_fetched(server, target):
    target.mkdir()
    (target / 'mine.jpg').write_bytes(b'mine')
    with pytest.raises(DataError, match='holds other files'):
        fetch_archive(serve(server, zip_of(PHOTOS)), target)
    assert files_below(target.parent) == {'raw/mine.jpg': b'mine'}
    assert not server.asked


def test_a_folder_that_appeared_while_unpacking_is_left_alone(server, target, monkeypatch):
    real, url = unpacking.unpack, serve(server, zip_of(PHOTOS))

    def meanwhile(archive, folder):
        real(archive, folder)
        real(archive, target)  # as a second process does

    monkeypatch.setattr(unpacking, 'unpack', meanwhile)
    with pytest.raises(ConfigError, match='another process.*Fix:'):
        fetch_archive(url, target)
    assert files_below(target) == PHOTOS == files_below(fetch_archive(url, target).path.parent)


def changed(content, place, mask):
    """The content with other bits in one byte."""
    return content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]


PACK = {'tar': tar_of, 'tgz': lambda files: gzip.compress(tar_of(files), mtime=0), 'zip': zip_of}
NOISE = {'daisy/1.jpg': os.urandom(30_000), 'rose/2.jpg': os.urandom(30_000)}
OUTSIDE = ['../x', 'daisy/../../x', '/tmp/x', 'C:\\x', 'C:/x', '..\\x', '\\\\host\\x']
LINKS = {'link': tarfile.SYMTYPE, 'hard link': tarfile.LNKTYPE, 'device': tarfile.CHRTYPE, 'pipe': tarfile.FIFOTYPE}
TAR, LOCKED = tar_of(PHOTOS), zip_of({'daisy/1.jpg': b'1'})
SECOND = TAR.index(b'flower_photos/rose')
# Archive -> its bytes, and words of the refusal.
REFUSED = {
    **{
        f'{kind} with {name}': (PACK[kind]({'daisy/1.jpg': b'1', name: b'evil'}), 'outside the target')
        for kind in ('tar', 'zip')
        for name in OUTSIDE
    },
    **{
        f'tar with a {name}': (tar_of(PHOTOS, [tar_entry('daisy/out', kind, '../../../etc')]), 'link or a device')
        for name, kind in LINKS.items()
    },
    'zip with a link': (zip_of({**PHOTOS, 'out': b'/etc'}, kinds={'out': stat.S_IFLNK}), 'link or a device'),
    **{
        f'{part} of a {kind}': (packed[: int(len(packed) * part)], 'damaged|cut short')
        for part in (0.3, 0.7)
        for kind in PACK
        for packed in [PACK[kind](NOISE)]
    },
    'tar cut between two files': (TAR[:SECOND], 'is damaged .after 2,048 bytes'),
    'tar with a damaged header': (changed(TAR, SECOND, 1), 'is damaged .after 2,048 bytes'),
    'tgz with a damaged photo': (changed(PACK['tgz'](NOISE), 15_000, 255), 'damaged'),
    'empty file': (b'', 'neither a tar nor a zip'),
    'web page': (b'<html>please log in</html>', 'neither a tar nor a zip'),
    'start of a tgz': (b'\x1f\x8bnot really', 'neither a tar nor a zip|damaged'),
    'zeros': (bytes(10240), 'neither a tar nor a zip'),
    'no folders': (zip_of({'1.jpg': b'1'}), 'one folder of photos per class'),
    'no name': (zip_of({'daisy/1.jpg': b'1', '': b'2'}), 'cannot write'),
    **{
        f'file and folder in one, in a {kind}': (
            PACK[kind]({'daisy/1': b'1', 'daisy/1/2.jpg': b'2'}),
            'there twice',
        )
        for kind in ('tar', 'zip')
    },
    # The flag for a password, in the table at the end.
    'locked zip': (changed(LOCKED, LOCKED.index(b'PK\x01\x02') + 8, 1), 'password'),
}


@pytest.mark.parametrize(('content', 'expected'), REFUSED.values(), ids=REFUSED)
def test_a_bad_archive_is_refused_and_leaves_nothing(server, target, content, expected):
    refused(serve(server, content), target, expected)


@pytest.mark.parametrize('pack', [lambda files: gzip.compress(tar_of(files)), zip_of], ids=['tgz', 'zip'])
def test_a_bomb_is_refused_before_it_is_unpacked(server, target, monkeypatch, pack):
    monkeypatch.setattr(unpacking, 'MIN_BYTES_FOR_RATIO', 1 << 20)
    written = []
    monkeypatch.setattr(unpacking, '_write_member', lambda archive, member, folder: written.append(member.size))
    refused(serve(server, pack({'daisy/1.jpg': bytes(4 << 20)})), target, 'more than 200 times')
    assert not written


def test_a_bomb_of_many_small_members_is_refused(server, target, monkeypatch):
    monkeypatch.setattr(unpacking, 'MIN_BYTES_FOR_RATIO', 1 << 20)
    content = gzip.compress(tar_of({f'daisy/{i}.jpg': bytes(1 << 16) for i in range(64)}))
    refused(serve(server, content), target, 'more than 200 times')


@pytest.mark.parametrize('limit, value', [('MAX_MEMBERS', 2), ('MAX_BYTES', 1000)])
@pytest.mark.parametrize('pack', [tar_of, zip_of])
def test_too_many_files_or_bytes_are_refused(server, target, monkeypatch, pack, limit, value):
    monkeypatch.setattr(unpacking, limit, value)
    refused(serve(server, pack(PHOTOS)), target, 'holds more than')


def test_a_tar_header_that_would_fill_the_memory_is_refused(server, target, monkeypatch):
    monkeypatch.setattr(unpacking, 'MAX_HEADER_BYTES', 1 << 16)
    refused(serve(server, gzip.compress(tar_of({'daisy/' + 'x' * (1 << 18): b'1'}))), target, 'header of more than')


def test_an_address_without_a_file_behind_it_is_refused(server, target):
    refused(f'{server.url}/none.zip', target, '404')


def test_a_server_that_does_not_answer_is_refused(server, target):
    server.shutdown()
    server.server_close()
    refused(f'{server.url}/photos.zip', target, 'cannot be downloaded')


def test_a_download_that_breaks_off_is_refused(server, target):
    server.promised_too_much = 10
    refused(serve(server, zip_of(PHOTOS)), target, 'broke off')


@pytest.mark.parametrize('url', ['photos.zip', 'ftp://127.0.0.1/x.zip', 'data:,x', 'http://[::1'])
def test_what_is_no_address_is_refused(target, url):
    refused(url, target, 'not the address', error=ConfigError)


@pytest.mark.parametrize('url', ['http://', 'file:///nowhere/x.zip'])
def test_what_leads_nowhere_is_refused(target, url):
    refused(url, target, 'cannot be downloaded')
