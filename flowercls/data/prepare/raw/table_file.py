"""Table files → rows of text: CSV and its kin, .xlsx and .parquet, within limits.

Start reading at `read_table`. The kind of a file is told by its first bytes, not by its suffix.
"""

import csv
import datetime
import io
import os
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from posixpath import splitext

from flowercls.core.errors import ConfigError, DataError
from flowercls.core.prepared_folder import PHOTO_SUFFIXES

MAX_FILE_BYTES = 256 << 20
MAX_UNPACKED_BYTES = 256 << 20  # of a workbook: a million rows of names and labels are 100 MB
MAX_ROWS, MAX_COLUMNS, MAX_CELLS = 2_000_000, 5_000, 40_000_000
MAX_TITLES = 20  # rows above the header
MAX_CELL_LENGTH, MAX_TEXT_LENGTH = 32_767, 512 << 20  # Excel's limit; characters in all
DELIMITERS = ',;\t|'
SAVE_AS_CSV = 'Fix: save it as CSV (UTF-8).'
_FOREIGN = (
    (rb'\xd0\xcf\x11\xe0', 'an old .xls workbook, or one with a password', 'Fix: save it as .xlsx without a password.'),
    (rb'\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!', 'a packed file', 'Fix: unpack it first.'),
    (rb'\s*<', 'HTML or XML', SAVE_AS_CSV),
    (rb'\s*[{\[]', 'JSON', SAVE_AS_CSV),
    (rb'%PDF', 'a PDF', SAVE_AS_CSV),
    (rb'\xff\xd8\xff|\x89PNG|GIF8', 'a photo', 'Fix: name the table.'),
)
# Letters of western Europe, at most two in a row. Other encodings, read as this one, give longer runs or symbols.
_WESTERN = re.compile('(?:[\x00-\x7f]|[À-ÖØ-öø-ÿŠšŽžŒœŸ‘’“”–°´]{1,2}(?![^\x00-\x7f]))*')


@dataclass(frozen=True)
class Table:
    """Rows of a table file; all cells are text without spaces around, blank rows are left out.

    Attributes:
        path: The file.
        rows: All of one length; the first may be a header.
        numbers: Number of each row in the file, from 1.
        notes: Lines on how the file was read.
    """

    path: Path
    rows: list[tuple[str, ...]]
    numbers: list[int]
    notes: tuple[str, ...] = ()


def read_table(path: str | os.PathLike) -> Table:
    """Read a table file: .csv, .tsv, .txt with columns, .xlsx or .parquet.

    Raises:
        DataError: if it cannot be read, is no table of at least two columns, or is too large.
        ConfigError: if a package is missing that reads it.
    """
    path = Path(path)
    content = _content(path)
    try:
        if content.startswith(b'PK\x03\x04'):
            numbered, notes = _workbook(path, content)
        elif content.startswith(b'PAR1'):
            numbered, notes = _parquet(path, content)
        else:
            numbered, notes = _text(path, content)
        numbers, rows = _checked(path, numbered)
    except (MemoryError, RecursionError) as error:
        raise DataError(f'{path}: is too large, or nested too deeply. {SAVE_AS_CSV}') from error
    numbers, rows, titles = _without_titles(numbers, rows)
    if titles:
        notes += (f'{path.name}: left out {", ".join(map(repr, titles))} above the columns',)
    width = max(map(len, rows), default=0)
    if width < 2:
        problem = 'holds no rows' if not rows else 'has one column'
        raise DataError(
            f'{path}: {problem}. Expected: a row for each photo, with at least two columns that are separated by '
            'commas, semicolons, tabs or |. Fix: correct the table.'
        )
    rows = [row + ('',) * (width - len(row)) for row in rows]
    return Table(path, rows, numbers, notes)


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would block
            raise DataError(f'{path}: is not a file. Fix: name a table.')
        if status.st_size > MAX_FILE_BYTES:
            raise DataError(f'{path}: {status.st_size >> 20} MiB, at most {MAX_FILE_BYTES >> 20}. Fix: shorten it.')
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise DataError(f'{path}: the table cannot be read ({reason}). Fix: check the path.') from error
    for first_bytes, kind, fix in _FOREIGN:
        if re.match(first_bytes, content[:256]):
            raise DataError(f'{path}: is {kind}, not a table that can be read. {fix}')
    return content


def _checked(path: Path, numbered: Iterable[tuple[int, Iterable]]) -> tuple[list[int], list[tuple[str, ...]]]:
    """Turn cells into text, leave out blank rows and empty columns at the end, and keep to the limits."""
    numbers, rows, known = [], [], {}
    cells = length = 0
    for number, values in numbered:
        row = [value if type(value) is str else _as_text(value) for value in values]
        row = [cell[2:-1] if cell[:2] == '="' and cell[-1:] == '"' else cell for cell in row]  # as Excel keeps zeros
        row = [known.setdefault(text := cell.strip(' \t\r\n\xa0\ufeff'), text) for cell in row]  # labels repeat
        while row and not row[-1]:
            row.pop()
        cells += 1 + len(row)
        length += sum(map(len, row))
        too_long = next((cell for cell in row if len(cell) > MAX_CELL_LENGTH), None)
        if too_long is not None:
            raise DataError(
                f'{path}, row {number}: a cell of {len(too_long):,} characters ({too_long[:40]!r}...), at most '
                f'{MAX_CELL_LENGTH:,}. Fix: close the quotation marks there, or leave that column out.'
            )
        if len(rows) >= MAX_ROWS or len(row) > MAX_COLUMNS or cells > MAX_CELLS or length > MAX_TEXT_LENGTH:
            raise DataError(
                f'{path}: is too large: at most {MAX_ROWS:,} rows, {MAX_COLUMNS:,} columns and {MAX_CELLS:,} cells. '
                'Fix: keep only the columns of photos and labels.'
            )
        if row:
            numbers.append(number)
            rows.append(tuple(row))
    return numbers, rows


def _without_titles(
    numbers: list[int], rows: list[tuple[str, ...]]
) -> tuple[list[int], list[tuple[str, ...]], list[str]]:
    """Leave out titles and comments above the header: rows with one cell, which names no photo, above fuller rows."""
    count = 0
    for row in rows[:MAX_TITLES]:  # a row ends with its last filled cell
        if len(row) > 1 or splitext(row[0])[1].lower() in PHOTO_SUFFIXES:
            break
        count += 1
    if len(rows) <= count or len(rows[count]) < 2:
        count = 0
    return numbers[count:], rows[count:], [row[0][:60] for row in rows[:count]]


def _as_text(value: object) -> str:
    """Return the text of a cell: whole numbers without a point, dates without an hour that nobody wrote."""
    if value is None:
        return ''
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, bytes):
        return value.decode('utf-8', 'backslashreplace')
    return str(value)


# --- text ---------------------------------------------------------------------------------------------------------


def _text(path: Path, content: bytes) -> tuple[Iterable[tuple[int, Sequence[str]]], tuple[str, ...]]:
    text, notes = _decoded(path, content)
    announced = re.match(r'sep=(.)\r?\n', text, re.IGNORECASE)  # Excel's own first line
    if announced:
        text = '\n' + text[announced.end() :]
    delimiter = announced[1] if announced else _delimiter(path, text)
    if delimiter is None:
        return _spaced(text), notes
    return _csv_rows(path, text, delimiter), notes


def _decoded(path: Path, content: bytes) -> tuple[str, tuple[str, ...]]:
    head = content[:1000]
    encoding = 'utf-8-sig'
    if head.startswith((b'\xff\xfe', b'\xfe\xff')):
        encoding = 'utf-16'
    elif head.count(0) > len(head) // 4:  # UTF-16 without its mark
        encoding = 'utf-16-le' if head[1:2] == b'\0' else 'utf-16-be'
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        text = '' if encoding != 'utf-8-sig' else content.decode('cp1252', 'replace')
        if not text or not _WESTERN.fullmatch(text):
            row = content.count(b'\n', 0, error.start) + 1
            raise DataError(
                f'{path}, row {row}: is not UTF-8, and its encoding cannot be told. {SAVE_AS_CSV}'
            ) from error
        return text, (f'{path.name}: is not UTF-8, read as Windows-1252 (western Europe)',)
    if '\0' in text:
        raise DataError(f'{path}: holds zero bytes, so it is no text. {SAVE_AS_CSV}')
    return text, ()


def _delimiter(path: Path, text: str) -> str | None:
    """Return the delimiter that gives the most rows of one length; None if none gives two columns."""
    order = '\t,;|' if path.suffix.lower() in ('.tsv', '.tab') else DELIMITERS
    scores = {}
    for delimiter in order:
        rows = [row for _, row in islice(_csv_rows(path, text[: 1 << 20], delimiter, strict=False), 200)]
        lengths = Counter(len(row) for row in rows if any(row))
        lengths = Counter({length: count for length, count in lengths.items() if length > 1})
        if lengths:
            scores[delimiter] = max(lengths.values())
    return max(scores, key=scores.get) if scores else None


def _csv_rows(path: Path, text: str, delimiter: str, strict: bool = True) -> Iterator[tuple[int, list[str]]]:
    limit = csv.field_size_limit(MAX_FILE_BYTES)  # global to the process; `_checked` has our own
    try:
        lines, end = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, skipinitialspace=True), 0
        for row in lines:
            yield end + 1, row
            end = lines.line_num
    except csv.Error as error:
        if strict:
            raise DataError(f'{path}, row {lines.line_num}: {error}. {SAVE_AS_CSV}') from error
    finally:
        csv.field_size_limit(limit)


def _spaced(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of lists as other trainers have them: ``photo label``, with one space, and no header."""
    for number, line in enumerate(text.splitlines(), start=1):
        yield number, line.strip().rsplit(maxsplit=1)


# --- workbooks ----------------------------------------------------------------------------------------------------


def _workbook(path: Path, content: bytes) -> tuple[Iterator[tuple[int, Sequence]], tuple[str, ...]]:
    try:
        import openpyxl
    except ImportError as error:
        raise _missing(path, 'openpyxl') from error
    has_formulas = _check_parts(path, content)
    try:
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
        sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == 'visible'] or book.worksheets
        if not sheets:
            raise DataError(f'{path}: holds no sheet with cells. {SAVE_AS_CSV}')
        formulas = None
        if has_formulas:
            again = openpyxl.load_workbook(io.BytesIO(content), read_only=True, keep_links=False)
            formulas = _sheet_rows(path, again[sheets[0].title])
        notes = () if len(book.sheetnames) < 2 else (f'{path.name}: the sheet {sheets[0].title!r} is read, no other',)
        return _values(path, sheets[0].title, _sheet_rows(path, sheets[0]), formulas), notes
    except DataError:
        raise
    except Exception as error:  # damaged workbooks raise many types in openpyxl
        raise _damaged(path, '.xlsx', error) from error


def _check_parts(path: Path, content: bytes) -> bool:
    """Refuse a workbook that unpacks to too much, or defines XML entities; returns whether it holds formulas."""
    has_formulas = False
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            unpacked = sum(part.file_size for part in parts.infolist())
            if unpacked > MAX_UNPACKED_BYTES or len(parts.infolist()) > 10_000:
                raise DataError(
                    f'{path}: unpacks to {unpacked >> 20:,} MiB in {len(parts.infolist()):,} parts, at most '
                    f'{MAX_UNPACKED_BYTES >> 20}. {SAVE_AS_CSV}'
                )
            for part in parts.infolist():
                if part.filename.endswith(('.xml', '.rels')):
                    text = parts.read(part).replace(b'\0', b'')  # also as UTF-16
                    if b'<!DOCTYPE' in text or b'<!ENTITY' in text:  # no program writes them; they can grow without end
                        raise DataError(f'{path}: {part.filename} defines XML entities. {SAVE_AS_CSV}')
                    has_formulas |= part.filename.startswith('xl/worksheets/') and bool(re.search(rb'<f[ />]', text))
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise _damaged(path, '.xlsx', error) from error
    except Exception as error:  # zlib.error and its kin
        if isinstance(error, DataError | MemoryError):
            raise
        raise _damaged(path, '.xlsx', error) from error
    return has_formulas


def _sheet_rows(path: Path, sheet: object) -> Iterator[Sequence]:
    """Yield the rows of a sheet, each as long as its cells."""
    sheet.reset_dimensions()  # what the file says of its size may be wrong, or absurd
    rows = sheet.iter_rows(values_only=True)
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except Exception as error:
            raise _damaged(path, '.xlsx', error) from error


def _values(
    path: Path, title: str, rows: Iterable[Sequence], formulas: Iterable[Sequence] | None
) -> Iterator[tuple[int, Sequence]]:
    with_formulas = zip(rows, formulas, strict=False) if formulas is not None else ((row, row) for row in rows)
    for number, (row, written) in enumerate(with_formulas, start=1):
        for column, (value, formula) in enumerate(zip(row, written, strict=False)):
            if value is None and formula is not None:
                raise DataError(
                    f'{path}, sheet {title!r}, row {number}, column {column + 1}: the formula {str(formula)[:60]} has '
                    'no stored value. Fix: open and save the workbook in a spreadsheet program, or save it as CSV.'
                )
        yield number, row


# --- parquet ------------------------------------------------------------------------------------------------------


def _parquet(path: Path, content: bytes) -> tuple[Iterator[tuple[int, Sequence]], tuple[str, ...]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise _missing(path, 'pyarrow') from error
    try:
        source = pa.BufferReader(content)
        schema = pq.read_schema(source)
        texts = [
            field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        ]
        file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts)  # a text that repeats stays one text
    except Exception as error:
        raise _damaged(path, 'parquet', error) from error
    if file.metadata.num_rows > MAX_ROWS or len(schema) > MAX_COLUMNS:
        raise DataError(
            f'{path}: {file.metadata.num_rows:,} rows and {len(schema):,} columns, at most {MAX_ROWS:,} and '
            f'{MAX_COLUMNS:,}. Fix: keep only the photos that are meant.'
        )
    nested = [field.name for field in schema if pa.types.is_nested(field.type) or pa.types.is_binary(field.type)]
    notes = (f'{path.name}: left out {", ".join(nested)}, which hold more than a text or a number',) if nested else ()
    return _parquet_rows(path, file, [name for name in schema.names if name not in nested]), notes


def _parquet_rows(path: Path, file: object, names: list[str]) -> Iterator[tuple[int, Sequence]]:
    import pyarrow as pa

    yield 1, names
    batches, number = file.iter_batches(batch_size=1000, columns=names), 1
    while True:
        try:
            batch = next(batches)
            columns = []
            for column in batch.columns:
                if pa.types.is_dictionary(column.type):
                    known = [
                        None if text is None else text[: MAX_CELL_LENGTH + 1] for text in column.dictionary.to_pylist()
                    ]
                    columns.append([None if index is None else known[index] for index in column.indices.to_pylist()])
                else:
                    columns.append(column.to_pylist())
        except StopIteration:
            return
        except Exception as error:
            raise _damaged(path, 'parquet', error) from error
        for row in zip(*columns, strict=True):
            number += 1
            yield number, row


def _missing(path: Path, package: str) -> ConfigError:
    return ConfigError(
        f'{path}: needs {package} to be read. Fix: pip install "flowercls[tables]", or save the table as CSV.'
    )


def _damaged(path: Path, kind: str, error: Exception) -> DataError:
    return DataError(f'{path}: cannot be read as {kind} ({type(error).__name__}: {str(error)[:200]}). {SAVE_AS_CSV}')
