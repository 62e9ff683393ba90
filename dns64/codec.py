"""Frozen dataclasses to JSON data and back, with every error at once and its path."""

import dataclasses
import types
from collections.abc import Mapping
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any, Union, get_args, get_origin, get_type_hints

_PARSED_FROM_TEXT: dict[Any, Any] = {
    IPv4Address: IPv4Address,
    IPv6Address: IPv6Address,
    IPv4Network: IPv4Network,
    IPv6Network: IPv6Network,
}
_ADDRESS = frozenset({IPv4Address, IPv6Address})
_NETWORK = frozenset({IPv4Network, IPv6Network})
_BAD = object()


def dump(value: Any) -> Any:
    """JSON data for a value made of dataclasses, tuples, addresses and plain values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: dump(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [dump(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def load(kind: Any, data: Any, errors: list[str], path: str = "") -> Any:
    """A value of type ``kind`` from JSON data; what is wrong is added to ``errors``."""
    if dataclasses.is_dataclass(kind):
        return _load_dataclass(kind, data, errors, path)
    origin = get_origin(kind)
    if origin is tuple:
        if not isinstance(data, list):
            return _wrong(errors, path, data, "a list")
        inner = get_args(kind)[0]
        return tuple(load(inner, item, errors, f"{path}[{n}]") for n, item in enumerate(data))
    if origin in (Union, types.UnionType):
        return _load_union(frozenset(get_args(kind)), data, errors, path)
    return _load_plain(kind, data, errors, path)


def _wrong(errors: list[str], path: str, data: Any, wanted: str) -> Any:
    errors.append(f"{path or 'document'}: found {data!r}, wanted {wanted}")
    return _BAD


def _load_plain(kind: Any, data: Any, errors: list[str], path: str) -> Any:
    if kind in _PARSED_FROM_TEXT:
        if isinstance(data, str):
            try:
                return _PARSED_FROM_TEXT[kind](data)
            except ValueError as error:
                errors.append(f"{path}: {error}")
                return _BAD
        return _wrong(errors, path, data, f"a text that is an {kind.__name__}")
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if type(data) is not kind:
        return _wrong(
            errors, path, data, {str: "a text", bool: "true or false"}.get(kind, "a number")
        )
    return data


def _load_union(kinds: frozenset[Any], data: Any, errors: list[str], path: str) -> Any:
    if data is None and type(None) in kinds:
        return None
    kinds -= {type(None)}
    if kinds in (_ADDRESS, _NETWORK):
        parse: Any = ip_address if kinds == _ADDRESS else ip_network
        try:
            return parse(data if isinstance(data, str) else "")
        except ValueError as error:
            errors.append(f"{path}: {error}")
            return _BAD
    (only,) = kinds
    return load(only, data, errors, path)


def _load_dataclass(kind: Any, data: Any, errors: list[str], path: str) -> Any:
    if not isinstance(data, Mapping):
        return _wrong(errors, path, data, "a mapping")
    before = len(errors)
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    dot = path + "." if path else ""
    for key in data:
        if key not in fields:
            errors.append(f"{dot}{key}: unknown; known are {', '.join(fields)}")
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = load(hints[name], data[name], errors, dot + name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            errors.append(f"{dot}{name}: missing")
    if len(errors) > before:
        return _BAD
    try:
        return kind(**values)
    except ValueError as error:
        errors.append(f"{path or 'document'}: {error}")
        return _BAD
