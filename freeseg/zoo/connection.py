"""Whether a server can be reached, said soon, and which one has the files."""

from __future__ import annotations

import os
import socket
import threading
import urllib.request
from pathlib import Path
from urllib.parse import quote, urlsplit

MIRROR = "FREESEG_MIRROR"
PATIENCE = 4.0  # seconds until a server has answered a call; looking its name up is among them

_PORTS = {"http": 80, "https": 443}


def address_of(url: str, name: str) -> str:
    """Returns where to fetch a file from: as $FREESEG_MIRROR has it under its name, else the URL.

    A mirror is a web address or a folder, with the files that `$FREESEG_CACHE/models` of another
    machine has.
    """
    mirror = os.getenv(MIRROR)
    if not mirror:
        return url
    if "://" not in mirror:
        mirror = Path(mirror).expanduser().resolve().as_uri()
    return f"{mirror.rstrip('/')}/{quote(name)}"


def check_reachable(url: str) -> None:
    """Complains when no server answers at an address; the system's own waits take minutes.

    Raises:
        OSError: There is none; the message says which and why.
    """
    place = _server_of(url)
    if place is None:
        return
    errors: list[OSError] = []

    def call() -> None:
        try:
            socket.create_connection(place, timeout=PATIENCE).close()
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)  # a name may be looked up for a minute
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive() or (errors and isinstance(errors[0], TimeoutError)):
        raise OSError(f"no connection to {place[0]}: no answer within {PATIENCE:g} seconds")
    if errors:
        reason = (errors[0].strerror or str(errors[0])).lower()
        raise OSError(f"no connection to {place[0]}: {reason}")


def _server_of(url: str) -> tuple[str, int] | None:
    """Host and port that are called for an address: the proxy's where there is one."""
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme not in _PORTS or host is None:
        return None  # a file
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host = parts.hostname or host
    return host, parts.port or _PORTS.get(parts.scheme, 80)
