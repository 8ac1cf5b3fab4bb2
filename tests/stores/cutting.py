"""A way to a server on loopback that breaks once, at the answer to a chosen request."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self


class CuttingProxy:
    """Passes on what goes to and from a port, until a chosen answer; then it closes everything.

    Args:
        port: Of the server.
        word: The answers that count are those to requests with this in them.
    """

    def __init__(self, port: int, word: bytes) -> None:
        self._server_port, self._word = port, word
        self._asked: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._num_answers, self._cut_at, self._keeps_request = 0, 0, True

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._cut()

    def count(self, body: Callable[[], object]) -> int:
        """Return how many answers `body` is given."""
        self._num_answers, self._cut_at = 0, 0
        body()
        return self._num_answers

    def cut_at(self, number: int, *, keeps_request: bool) -> None:
        """Cut once instead of giving the answer `number` from now on.

        Args:
            number: 1 is the next answer.
            keeps_request: Whether the server gets what it would have answered; or it is cut as
                well, before the request.
        """
        with self._lock:
            self._num_answers, self._cut_at, self._keeps_request = 0, number, keeps_request

    @property
    def has_cut(self) -> bool:
        """Say whether the cut was made that was asked for last."""
        return self._cut_at == 0

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._pairs.append((client, server))
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                counts = self._word in data
                with self._lock:
                    is_next = counts and self._cut_at == self._num_answers + 1
                    is_cut = is_next and not self._keeps_request
                    if is_cut:
                        self._cut_at = 0
                    elif counts:
                        self._asked.add(server)
                if is_cut:
                    self._cut()
                    return
                server.sendall(data)
        self._close(client, server)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                with self._lock:
                    counts = server in self._asked
                    self._asked.discard(server)
                    self._num_answers += counts
                    is_cut = counts and self._cut_at == self._num_answers
                    if is_cut:
                        self._cut_at = 0
                if is_cut:
                    self._cut()
                    return
                client.sendall(data)
        self._close(client, server)

    def _cut(self) -> None:
        for pair in self._pairs:
            self._close(*pair)
        self._pairs.clear()

    def _close(self, *ends: socket.socket) -> None:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
