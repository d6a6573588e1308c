"""A line to a server that counts what goes over it, and breaks once when told to: a proxy on a port of this machine."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Optional


@dataclass
class Line:
    """What has gone over it so far."""

    port: int
    sent: int = 0
    """Bytes from clients."""
    received: int = 0
    """Bytes from the server."""
    cut_after_sent: Optional[int] = None
    """The line breaks, once, when one connection's client has sent so many bytes."""
    cut_after_received: Optional[int] = None
    """The same for what its server has sent."""
    cuts: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, name: str, bytes_now: int, bytes_of_connection: int) -> bool:
        """Notes bytes of a direction; whether the line breaks now."""
        with self._lock:
            setattr(self, name, getattr(self, name) + bytes_now)
            limit = getattr(self, f"cut_after_{name}")
            if limit is None or bytes_of_connection < limit:
                return False
            setattr(self, f"cut_after_{name}", None)
            self.cuts += 1
            return True


@contextlib.contextmanager
def line_to(host: str, port: int) -> Iterator[Line]:
    """A line to this server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = Line(listener.getsockname()[1])

        def carry(name: str, ends: tuple[socket.socket, socket.socket]) -> None:
            carried = 0
            with contextlib.suppress(OSError):
                while data := ends[0].recv(1 << 16):
                    carried += len(data)
                    if line.count(name, len(data), carried):
                        break
                    ends[1].sendall(data)
            for end in ends:
                # Whoever reads from it wakes up.
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

        def serve() -> None:
            with contextlib.suppress(OSError):  # the listener is closed
                while True:
                    client, _ = listener.accept()
                    server = socket.create_connection((host, port))
                    for name, ends in (("sent", (client, server)), ("received", (server, client))):
                        threading.Thread(target=carry, args=(name, ends), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield line
