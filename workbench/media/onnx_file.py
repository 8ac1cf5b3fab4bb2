"""How many parameters an ONNX file holds, read from its protocol buffers."""

from collections.abc import Iterator

_GRAPH, _INITIALIZER, _DIMS, _DATA_TYPE = 7, 5, 1, 2
"""Fields of ModelProto, GraphProto and TensorProto (onnx.proto of ONNX 1.x)."""

_INT64 = 7
"""The data type of shapes and axes."""


def num_parameters(model: bytes) -> int | None:
    """Return how many values the initial tensors of a model have; None if it is no ONNX file.

    Tensors of whole numbers of 64 bits are left out: they are shapes.
    """
    try:
        graphs = [graph for field, graph in _fields(model) if field == _GRAPH]
        sizes = [
            _size(tensor)
            for graph in graphs
            for field, tensor in _fields(_message(graph))
            if field == _INITIALIZER
        ]
    except (IndexError, ValueError):
        return None
    return sum(sizes) if graphs else None


def _size(tensor: int | bytes) -> int:
    size = 1
    for field, value in _fields(_message(tensor)):
        if field == _DATA_TYPE and value == _INT64:
            return 0
        if field == _DIMS:
            for length in [value] if isinstance(value, int) else _packed(value):
                size *= length
    return size


def _message(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where a message belongs")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number of each field with its value; numbers of fixed width as bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        wire = key & 7
        if wire == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if wire == 2:
            length, place = _varint(message, place)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"there is no wire type {wire}")
        if place + length > len(message):
            raise ValueError("a field reaches past the end")
        yield key >> 3, message[place : place + length]
        place += length


def _packed(values: bytes) -> Iterator[int]:
    place = 0
    while place < len(values):
        value, place = _varint(values, place)
        yield value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
