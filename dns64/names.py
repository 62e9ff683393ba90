"""Domain names in wire form: uncompressed labels with the closing zero, case kept."""

from dns64.errors import MalformedError

MAX_NAME = 255
ROOT = b"\0"


def read_name(wire: bytes, at: int) -> tuple[bytes, int]:
    """The name at ``at``, expanded, and the offset behind it.

    A compression pointer must lead to before the place where the name (or the part reached by the
    last pointer) began, so that no loop is possible (RFC 1035 section 4.1.4).
    """
    parts: list[bytes] = []
    size = 1
    start = at
    behind = -1
    try:
        while True:
            length = wire[at]
            if length == 0:
                break
            if length < 64:
                end = at + 1 + length
                size += 1 + length
                if size > MAX_NAME:
                    raise MalformedError("name longer than 255 bytes")
                parts.append(wire[at:end])
                at = end
            elif length >= 192:
                target = (length & 63) << 8 | wire[at + 1]
                if behind < 0:
                    behind = at + 2
                if target >= start or target < 12:
                    raise MalformedError("compression pointer does not lead backwards")
                start = at = target
            else:
                raise MalformedError("unknown kind of label")
    except IndexError:
        raise MalformedError("name leaves the message") from None
    if at >= len(wire):
        raise MalformedError("name leaves the message")
    parts.append(ROOT)
    return b"".join(parts), at + 1 if behind < 0 else behind


def skip_name(wire: bytes, at: int) -> int:
    """The offset behind the name at ``at``; what a pointer leads to is not looked at."""
    start = at
    try:
        while True:
            length = wire[at]
            if length == 0:
                return at + 1
            if length < 64:
                at += 1 + length
                if at - start >= MAX_NAME:
                    raise MalformedError("name longer than 255 bytes")
            elif length >= 192:
                if (length & 63) << 8 | wire[at + 1] >= start:
                    raise MalformedError("compression pointer does not lead backwards")
                return at + 2
            else:
                raise MalformedError("unknown kind of label")
    except IndexError:
        raise MalformedError("name leaves the message") from None


def labels(name: bytes) -> list[bytes]:
    """The labels of a wire name, leftmost first, without the root."""
    found = []
    at = 0
    while name[at]:
        end = at + 1 + name[at]
        found.append(name[at + 1 : end])
        at = end
    return found


def from_labels(parts: list[bytes]) -> bytes:
    """The wire name of these labels; every label has 1 to 63 bytes."""
    name = b"".join(bytes((len(part),)) + part for part in parts) + ROOT
    if len(name) > MAX_NAME or any(not 0 < len(part) < 64 for part in parts):
        raise MalformedError("name or label too long")
    return name


def from_text(text: str) -> bytes:
    """The wire name of ``text`` (RFC 1035 section 5.1, with \\DDD and \\X); a last dot is free."""
    parts: list[bytes] = []
    label = bytearray()
    raw = text.encode("ascii", "strict") if text.isascii() else text.encode("idna")
    if raw in (b"", b"."):
        return ROOT
    at = 0
    while at < len(raw):
        byte = raw[at]
        at += 1
        if byte == 0x5C and at < len(raw):
            digits = raw[at : at + 3]
            if len(digits) == 3 and digits.isdigit() and int(digits) < 256:
                label.append(int(digits))
                at += 3
            else:
                label.append(raw[at])
                at += 1
        elif byte == 0x2E:
            parts.append(bytes(label))
            label.clear()
        else:
            label.append(byte)
    if label:
        parts.append(bytes(label))
    return from_labels(parts)


def to_text(name: bytes) -> str:
    """A wire name as people write it, with the last dot."""

    def show(label: bytes) -> str:
        return "".join(
            f"\\{chr(byte)}"
            if byte in b'.\\"();@$'
            else chr(byte)
            if 0x21 <= byte <= 0x7E
            else f"\\{byte:03d}"
            for byte in label
        )

    return "".join(show(label) + "." for label in labels(name)) or "."


def is_under(name: bytes, zone: bytes) -> bool:
    """Whether ``name`` is ``zone`` or below it; both in lower case."""
    if not name.endswith(zone):
        return False
    at = 0
    border = len(name) - len(zone)
    while at < border:
        at += name[at] + 1
    return at == border


def replace_suffix(name: bytes, old: bytes, new: bytes) -> bytes | None:
    """``name`` with the zone ``old`` above it replaced (RFC 6672); None where that is too long."""
    moved = name[: len(name) - len(old)] + new
    return moved if len(moved) <= MAX_NAME else None
