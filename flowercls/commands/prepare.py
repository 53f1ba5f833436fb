"""Photos → a prepared folder."""

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowercls.data.prepare.preparation import PreparedReport


def prepare(
    raw_dir: str | Path | None,
    out_dir: str | Path,
    *,
    demo: bool = False,
    download: str | None = None,
    sha256: str | None = None,
    **options,
) -> 'PreparedReport':
    """Make a prepared folder from a folder of photos per class.

    Args:
        raw_dir: Folder with one sub-folder of photos per class; None with ``demo`` or ``download``.
        out_dir: Folder to make.
        demo: Draw flowers and prepare them.
        download: Address of an archive to fetch and prepare.
        sha256: Digest the archive must have; without it the digest is recorded at the first download.
        **options: As `flowercls.data.prepare.preparation.prepare`.

    Raises:
        DataError: if the photos cannot be used.
        ConfigError: if ``out_dir`` is not free to be written.
    """
    if demo:
        from flowercls.data.drawn import prepare_drawn

        return prepare_drawn(out_dir, **options)
    if download:
        return _prepare_download(download, out_dir, sha256, options)
    from flowercls.data.prepare.preparation import prepare as prepare_folder

    return prepare_folder(raw_dir, out_dir, **options)


def _prepare_download(url: str, out_dir: str | Path, sha256: str | None, options: dict) -> 'PreparedReport':
    """Keep the photos in ``<out_dir>-raw``; in a dry run nothing stays, not even what was fetched."""
    from flowercls.core.download import fetch_archive
    from flowercls.data.prepare.preparation import prepare as prepare_folder

    dry_run = options.get('dry_run', False)
    with tempfile.TemporaryDirectory(prefix='flowercls-dry-run-') if dry_run else contextlib.nullcontext() as folder:
        raw_dir = Path(folder, 'raw') if dry_run else Path(f'{Path(out_dir)}-raw')

        def bring() -> Path:
            archive = fetch_archive(url, raw_dir, sha256=sha256)
            new = 'not recorded in a dry run' if dry_run else 'recorded now, checked from now on'
            known = new if archive.recorded else 'as expected'
            print(f'photos in {archive.path}, SHA-256 of the archive {archive.sha256} ({known})', flush=True)
            return archive.path

        return prepare_folder(raw_dir, out_dir, bring=bring, **options)
