"""An exported ONNX file: its names and metadata, and a check that a file from a stranger can do no harm.

The check reads the protobuf message itself. Nothing is computed, and no other file is opened. The sizes that a file
declares are compared with those it holds before onnxruntime sees it.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flowercls.core.errors import CheckpointError
from flowercls.core.prepared_folder import checked_ranges

INPUT, PROBABILITIES, CLASS_MAPS, DISTANCE = 'photos', 'probabilities', 'class_maps', 'distance'
# Keys of metadata_props; all hold JSON.
FACTS_KEY, CLASSES_KEY, CALIBRATION_KEY, PIPELINE_KEY = 'flowercls', 'classes', 'calibration', 'pipeline'
MAX_BYTES = 2**31 - 1  # protobuf's own limit
MAX_DIM = 2**24  # of a declared shape; a layer of a network has thousands
MAX_FILLED = 2**28  # values that a node makes of a constant shape
OPERATORS = ('', 'ai.onnx')  # the standard; onnxruntime's own operators and all others are never needed
SHAPE_TAKERS = ('ConstantOfShape', 'Expand', 'Tile', 'Range', 'Pad', 'OneHot')
MANY_VALUES = 1024  # a longer constant is no shape
# Bytes of a value, by TensorProto.DataType (onnx.proto); no text, and none of the types of less than a byte.
_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2}
_INT64 = 7
_FIX = 'Fix: use a file that `export --format onnx` wrote.'


@dataclass(frozen=True)
class OnnxFile:
    """What a checked file says about itself.

    Attributes:
        class_names: In the order of the probabilities.
        facts: See `TorchModel.facts`.
        calibration: Content of calibration.json; None without one.
        steps: The test pipeline, see `onnx_graph.described`.
    """

    class_names: list[str]
    facts: dict
    calibration: dict | None
    steps: list


class _Refused(Exception):  # noqa: N818  reads as what it is
    """What is wrong with a file."""


def check_onnx(content: bytes, source: Path) -> OnnxFile:
    """Return what an exported file says about itself, if it is safe to open.

    Raises:
        CheckpointError: if the file is damaged, not one of ours, or could read other files or take all memory.
    """
    if len(content) > MAX_BYTES:
        raise CheckpointError(f'{source}: has more than {MAX_BYTES} bytes, which is no ONNX file. {_FIX}')
    try:
        metadata = _check_model(memoryview(content))
        return _read_metadata(metadata)
    except _Refused as error:
        raise CheckpointError(f'{source}: {error}. {_FIX}') from None
    except (ValueError, TypeError, IndexError, RecursionError) as error:  # TypeError: a number where a part should be
        raise CheckpointError(f'{source}: is damaged, or no ONNX file ({error}). {_FIX}') from error


def _read_metadata(metadata: dict[str, str]) -> OnnxFile:
    missing = [key for key in (FACTS_KEY, CLASSES_KEY) if key not in metadata]
    if missing:
        raise _Refused('is an ONNX file of another program: it holds no class names or facts of flowercls')
    names, facts = json.loads(metadata[CLASSES_KEY]), json.loads(metadata[FACTS_KEY])
    calibration = json.loads(metadata.get(CALIBRATION_KEY, 'null'))
    steps = json.loads(metadata.get(PIPELINE_KEY, '[]'))
    is_list = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
    if not is_list or not names or len(set(names)) < len(names):
        raise _Refused('its class names are no list of different names')
    if not isinstance(facts, dict) or not isinstance(calibration, dict | None) or not isinstance(steps, list):
        raise _Refused('its metadata hold something else than facts')
    if facts.get('classes', names) != names or not isinstance(facts.get('name', ''), str):
        raise _Refused('its facts are of another model')
    checked_ranges(facts.get('value_range', {}))
    json.dumps(
        [names, facts, calibration, steps], ensure_ascii=False, allow_nan=False
    ).encode()  # as other files hold them
    return OnnxFile(names, facts, calibration, steps)


# ---------------------------------------------------------------- the protobuf message


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a protobuf message.

    Source:
        https://protobuf.dev/programming-guides/encoding
    """
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
        else:
            if kind == 2:
                length, at = _varint(message, at)
            elif kind in (1, 5):
                length = 8 if kind == 1 else 4
            else:
                raise ValueError(f'wire type {kind}')
            if at + length > end:
                raise ValueError('cut off')
            value, at = message[at : at + length], at + length
        yield tag >> 3, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError('a number without end')


def _text(value: int | memoryview) -> str:
    return bytes(value).decode() if isinstance(value, memoryview) else str(value)


def _check_model(message: memoryview) -> dict[str, str]:
    """Check a ModelProto; returns its metadata. Numbers of fields are those of onnx.proto."""
    metadata, has_graph = {}, False
    for number, value in _fields(message):
        if number == 7:
            _check_graph(value)
            has_graph = True
        elif number == 14:
            pair = {key: _text(text) for key, text in _fields(value)}
            metadata[pair.get(1, '')] = pair.get(2, '')
        elif number == 8:
            domain = ''.join(_text(text) for key, text in _fields(value) if key == 1)
            _check_domain(domain)
        elif number in (20, 25):
            raise _Refused('holds functions or training steps of its own')
    if not has_graph:
        raise ValueError('it holds no graph')
    return metadata


def _check_graph(message: memoryview) -> None:
    constants, nodes = {}, []
    for number, value in _fields(message):
        if number == 1:
            nodes.append(_check_node(value))
        elif number == 5:
            name, values = _check_tensor(value)
            constants[name] = values
        elif number == 15:
            raise _Refused('holds sparse tensors')
        elif number in (11, 12, 13):
            _check_declared(value)
    for operator, _, outputs, values in nodes:
        if operator == 'Constant':
            constants.update(dict.fromkeys(outputs, values))
    for operator, inputs, _, _ in nodes:
        if operator in SHAPE_TAKERS:
            for values in filter(None, map(constants.get, inputs)):
                if math.prod(max(1, abs(value)) for value in values) > MAX_FILLED:
                    raise _Refused(f'a node {operator} would fill a tensor of the shape {list(values)[:8]}')


def _check_domain(domain: str) -> None:
    if domain not in OPERATORS:
        raise _Refused(f'needs operators of {domain[:80]!r}, which are not standard')


def _check_node(message: memoryview) -> tuple[str, list[str], list[str], tuple[int, ...] | None]:
    """Check a NodeProto; returns operator, inputs, outputs and the values of a constant of whole numbers."""
    operator, inputs, outputs, constant = '', [], [], None
    for number, value in _fields(message):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            operator = _text(value)
        elif number == 5:
            constant = _check_attribute(value) or constant
        elif number == 7:
            _check_domain(_text(value))
    return operator, inputs, outputs, constant


def _check_attribute(message: memoryview) -> tuple[int, ...] | None:
    values = []
    for number, value in _fields(message):
        if number in (6, 11):
            raise _Refused('holds graphs inside of a node')
        if number in (22, 23):
            raise _Refused('holds sparse tensors')
        if number in (5, 10):
            values = _check_tensor(value)[1] or ()
        elif number in (3, 8):
            values = [*values, *([value] if isinstance(value, int) else _packed(value))]
    return tuple(map(_signed, values)) or None


def _check_tensor(message: memoryview) -> tuple[str, tuple[int, ...] | None]:
    """Check that a TensorProto holds what it declares; returns its name, and its values if they can be a shape."""
    shape, kind, name, held, numbers = [], 0, '', None, []
    for number, value in _fields(message):
        if number == 1:
            shape += [value] if isinstance(value, int) else _packed(value)
        elif number == 2:
            kind = value
        elif number in (3, 13) or (number == 14 and value):
            raise _Refused('keeps weights in other files')
        elif number == 8:
            name = _text(value)
        elif number == 9:
            held = value
        elif number in (4, 5, 6, 7, 10, 11):
            numbers.append((number, value))
    _check_shape(shape)
    if kind not in _BYTES:
        raise _Refused(f'holds a tensor of the type {kind}, which no network needs')
    count, values = math.prod(shape), None
    if held is not None:
        if len(held) != count * _BYTES[kind]:
            raise _Refused(f'the tensor {name[:80]!r} is declared as {shape} and holds {len(held)} bytes')
        if kind == _INT64 and count <= MANY_VALUES:
            values = tuple(int.from_bytes(held[at : at + 8], 'little', signed=True) for at in range(0, 8 * count, 8))
    elif numbers or count:
        found = [_signed(value) for _, packed in numbers for value in _unpacked(packed)] if count <= MANY_VALUES else []
        size = sum(1 if isinstance(packed, int) else len(packed) for _, packed in numbers)
        if size < count:  # a value takes a byte or more
            raise _Refused(f'the tensor {name[:80]!r} is declared as {shape} and holds less')
        values = tuple(found) if kind == _INT64 else None
    return name, values


def _packed(value: memoryview) -> list[int]:
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(number)
    return numbers


def _unpacked(value: int | memoryview) -> list[int]:
    return [value] if isinstance(value, int) else _packed(value)


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def _check_shape(shape: list[int]) -> None:
    if any(not 0 <= _signed(edge) <= MAX_DIM for edge in shape) or math.prod(shape) > MAX_BYTES:
        raise _Refused(f'declares a tensor of the shape {[_signed(edge) for edge in shape][:8]}')


def _check_declared(message: memoryview) -> None:
    """Check the shape of a ValueInfoProto: type (2), tensor_type (1), shape (2), dim (1), dim_value (1)."""
    parts = [message]
    for number in (2, 1, 2):
        parts = [
            value for part in parts for key, value in _fields(part) if key == number and not isinstance(value, int)
        ]
    for part in parts:
        dims = [value for key, value in _fields(part) if key == 1 and not isinstance(value, int)]
        _check_shape([value for dim in dims for key, value in _fields(dim) if key == 1 and isinstance(value, int)])
