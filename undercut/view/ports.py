"""Sockets to listen on, and who has the port when it is taken."""

import errno
import ipaddress
import os
import socket
from pathlib import Path

from contract.errors import InputError


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listener(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 is any free one. InputError for a port in use, with its owner if known, or a bad host."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except socket.gaierror as error:
        raise InputError(
            "--host", host, f"an address or name of this machine ({error.strerror})", "127.0.0.1"
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            who = owner(port)
            rule = (
                f"the port is free; {who} listens on it" if who else "the port is free; another program listens on it"
            )
            raise InputError("--port", port, rule, "stop that program, or let --port 0 choose a free port") from None
        if error.errno == errno.EACCES:
            raise InputError("--port", port, "ports below 1024 are root's", "take one from 1024 on") from None
        raise InputError(
            "--host", host, f"an address of this machine ({os.strerror(error.errno or 0)})", "127.0.0.1"
        ) from None


def owner(port: int) -> str | None:
    """The process that listens on a TCP port, for people; None where the system does not say (not Linux, or another
    user's)."""
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in inodes for link in (process / "fd").iterdir()):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {process.name} ({command[:80]})"
        except OSError:
            continue  # gone, or another user's
    return None
