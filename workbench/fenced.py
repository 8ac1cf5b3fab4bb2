"""The program of a process in a fence: it runs one call after another, as its parent sends them."""

import os
import pickle
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection


def main(handle: int) -> None:
    """Run the calls that come through the pipe `handle` until the parent closes it.

    The first is answered like the others: it is what the process does before it takes calls.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    with Connection(handle) as parent:
        while True:
            try:
                call = parent.recv_bytes()
            except (EOFError, ConnectionError):
                return
            parent.send_bytes(_answer(call))


def _answer(call: bytes) -> bytes:
    """Return the pickled result of a pickled call, or the exception that it raised."""
    try:
        function, arguments = pickle.loads(call)
        return pickle.dumps((True, function(*arguments)), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 (the parent raises it)
        return _told(error)


def _told(error: Exception) -> bytes:
    text = "".join(traceback.format_exception(error))
    error.add_note(f"In a process of its own:\n{text}")
    try:
        told = pickle.dumps((False, error))
        pickle.loads(told)
    except Exception:  # noqa: BLE001 (libraries raise what cannot be sent; its words can)
        told = pickle.dumps((False, RuntimeError(text)))
    return told


def _end_with_parent() -> None:
    """End when the parent is gone, however it died: it held the other end of the standard input."""
    while sys.stdin.buffer.read(1):
        pass
    os._exit(1)
