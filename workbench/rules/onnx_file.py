"""How many parameters an ONNX file holds, read from its protocol buffers."""

from collections.abc import Iterator

# Fields of ModelProto, GraphProto and TensorProto in onnx.proto.
_GRAPH, _INITIALIZER, _DIMS, _DATA_TYPE = 7, 5, 1, 2
_INT64 = 7
"""The data type of shapes and axes."""


def num_parameters(model: bytes) -> int | None:
    """Return how many values the initial tensors of a model have; None if it is no ONNX file.

    Tensors of whole numbers of 64 bits are left out: they are shapes.
    """
    try:
        graphs = _messages(model, _GRAPH)
        tensors = [tensor for graph in graphs for tensor in _messages(graph, _INITIALIZER)]
        return sum(map(_size, tensors)) if graphs else None
    except (IndexError, ValueError):
        return None


def _size(tensor: bytes) -> int:
    size = 1
    for field, value in _fields(tensor):
        if field == _DATA_TYPE and value == _INT64:
            return 0
        if field == _DIMS:
            for length in [value] if isinstance(value, int) else _packed(value):
                size *= length
    return size


def _messages(message: bytes, wanted: int) -> list[bytes]:
    return [v for field, v in _fields(message) if field == wanted and isinstance(v, bytes)]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number of each field with its value; numbers of fixed width as bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        if key & 7 == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        length = {1: 8, 5: 4}.get(key & 7)
        if key & 7 == 2:
            length, place = _varint(message, place)
        if length is None or place + length > len(message):
            raise ValueError("no field of this kind, or one that reaches past the end")
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
