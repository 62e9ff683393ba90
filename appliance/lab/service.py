"""A program that a lab keeps running in one of its nodes."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Service:
    """``ready`` is asked from the network namespace of ``asked_from`` (``node`` itself by
    default) until it is true, for ``seconds`` at most."""

    name: str
    node: str
    argv: tuple[str, ...]
    ready: Callable[[], bool]
    asked_from: str = ""
    seconds: float = 20
    what: str = ""
