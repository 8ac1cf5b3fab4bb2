"""What every process that this program starts does first."""

import multiprocessing
import os
import signal
import threading


def be_a_child() -> None:
    """Leave Ctrl-C to the parent, and end when it is gone, however it died.

    A parent that is killed cannot tell its children: without this they would wait for work for
    ever, holding the device's memory.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("be_a_child is for processes started by multiprocessing")

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, name="end-with-parent", daemon=True).start()
