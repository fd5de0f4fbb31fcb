"""Listening sockets: one for each address of a host, and the reason in plain words when there can be none."""

from __future__ import annotations

import errno
import os
import socket

BACKLOG = 2048
_UNUSABLE = {
    errno.EADDRINUSE: "choose another with --port",
    errno.EACCES: "ports below 1024 need privileges; choose another with --port",
    errno.EADDRNOTAVAIL: "it is not an address of this machine; choose another with --host",
}


class ListenError(OSError):
    """No listening socket at an address; ``str()`` is the whole message."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if isinstance(error, socket.gaierror):
            reason, remedy = f"the name cannot be resolved: {error.strerror}", "choose another with --host"
        else:
            # Not error.strerror, to which the socket module adds the address again.
            reason, remedy = os.strerror(error.errno or 0), _UNUSABLE.get(error.errno or 0, "")
        reason = reason[:1].lower() + reason[1:]
        super().__init__(f"cannot listen on {where}: {reason}{f' ({remedy})' if remedy else ''}")
        self.in_use = error.errno == errno.EADDRINUSE


def open_listeners(host: str, port: int) -> list[socket.socket]:
    """A listening socket for each address of the host; raises `ListenError` for the first that cannot be had."""
    sockets = _bind(host, port)
    try:
        for listener in sockets:
            listener.listen(BACKLOG)
    except OSError as error:
        _close(sockets)
        raise ListenError(host, port, error) from None
    return sockets


def unresolvable(host: str) -> str | None:
    """Why no address can be found for a host; None when there is one."""
    try:
        socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return f"the host name {host!r} cannot be resolved"
    return None


def check_address(host: str, port: int) -> None:
    """Raise `ListenError` when `open_listeners` would, except that the port may be in use: by the gateway that runs."""
    try:
        _close(_bind(host, port))
    except ListenError as error:
        if not error.in_use:
            raise


def _bind(host: str, port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((info[0], info[4]) for info in infos):
            if sockets and port == 0:  # every address has the port that the first was given
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            bound = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(bound)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Accepted sockets inherit it. asyncio would set it only on sockets that were made with IPPROTO_TCP.
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            bound.bind(address)
    except (OSError, UnicodeError) as error:
        _close(sockets)
        if isinstance(error, UnicodeError):  # no label of a name is empty or longer than 63 characters
            error = socket.gaierror(socket.EAI_NONAME, "not a valid host name")
        raise ListenError(host, port, error) from None
    return sockets


def _close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()
