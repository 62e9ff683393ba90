"""Waiting on conditions, never on the clock alone."""

import socket
import time
from collections.abc import Callable

INTERVAL_SECONDS = 0.02


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether ``condition`` came true within ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(INTERVAL_SECONDS)
    return True


def accepts(address: str, port: int) -> bool:
    """Whether somebody listens on a TCP port, seen from the calling thread's namespace."""
    try:
        socket.create_connection((address, port), timeout=0.5).close()
    except OSError:
        return False
    return True


def answers_dns(server: str, name: str, kind: int, port: int = 53) -> bool:
    """Whether a name server answers a question without error and with at least one record."""
    question = b"".join(bytes([len(label)]) + label for label in name.encode().split(b".") if label)
    query = bytes.fromhex("6464 0100 0001 0000 0000 0000") + question + b"\0"
    query += kind.to_bytes(2, "big") + b"\0\1"
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.5)
        try:
            asking.connect((server, port))
            asking.send(query)
            answer = asking.recv(4096)
        except OSError:
            return False
    return len(answer) > 12 and answer[3] & 15 == 0 and answer[6:8] != b"\0\0"
