"""A TCP proxy that a test can cut, as a network between two machines is cut."""

import socket
import threading
from typing import Self


class Proxy:
    """Passes connections on to a port of this machine, until it is cut; mended, it passes new ones on again."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        """`host` is the address of this machine at which it listens: a bridge's, for containers."""
        self._to, self._host = port, host
        self._listener = socket.create_server((host, 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._turn = threading.Lock()
        self._is_cut = False
        self._bytes_left: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._listener.close()

    @property
    def endpoint(self) -> str:
        return f"http://{self._host}:{self.port}"

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        with self._turn:
            self._is_cut = True
            for end in self._open:
                end.close()
            self._open.clear()

    def mend(self) -> None:
        """Let new connections through."""
        self._is_cut = False

    def cut_after(self, size: int) -> None:
        """Break one connection, once clients have sent so many bytes from now on."""
        self._bytes_left = size

    def has_broken_one(self) -> bool:
        """Whether that has happened."""
        return self._bytes_left is None

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                client.close()
                continue
            with self._turn:
                self._open |= {client, server}
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        try:
            while data := source.recv(65_536):
                if counts and self._bytes_left is not None:
                    self._bytes_left -= len(data)
                    if self._bytes_left < 0:
                        self._bytes_left = None
                        break
                target.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, target):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
                finally:
                    end.close()
            with self._turn:
                self._open -= {source, target}
