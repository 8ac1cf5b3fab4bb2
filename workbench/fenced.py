"""The program of a process in a fence: it runs one call after another, as its parent sends them."""

import os
import pickle
import signal
import threading
import traceback
from multiprocessing.connection import Connection

TAKEN = b"taken"
"""Told before a call runs: a process that dies without it was no call's fault."""


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
            parent.send_bytes(TAKEN)
            answer, is_sound = _answer(call)
            parent.send_bytes(answer)
            if not is_sound:
                return


def _answer(call: bytes) -> tuple[bytes, bool]:
    """Return the pickled answer to a pickled call, and whether the process is sound after it.

    An answer is whether the call had a result, the result or the exception, and again the latter.
    """
    try:
        function, arguments = pickle.loads(call)
        answer = (True, function(*arguments), True)
        return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL), True
    except Exception as error:  # noqa: BLE001 (the parent raises it)
        # A library that was half imported when memory ran out, for one, stays half imported.
        is_sound = not isinstance(error, MemoryError)
        return _told(error, is_sound), is_sound


def _told(error: Exception, is_sound: bool) -> bytes:
    text = "".join(traceback.format_exception(error))
    error.add_note(f"In a process of its own:\n{text}")
    try:
        told = pickle.dumps((False, error, is_sound))
        pickle.loads(told)
    except Exception:  # noqa: BLE001 (libraries raise what cannot be sent; its words can)
        told = pickle.dumps((False, RuntimeError(text), is_sound))
    return told


def _end_with_parent() -> None:
    """End when the parent is gone, however it died: it held the other end of the standard input."""
    while os.read(0, 1):
        pass
    os._exit(1)
