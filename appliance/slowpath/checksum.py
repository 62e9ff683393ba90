"""The Internet checksum, by arithmetic modulo 65535 (RFC 1071, RFC 1624).

65,536 leaves 1 when divided by 65,535, so the one's complement sum of a number's 16-bit words is
its remainder: an address of 128 bits needs no loop.
"""


def words(data: bytes | bytearray | memoryview) -> int:
    """The one's complement sum of big-endian 16-bit words, 0 to 65534 (0 stands for 65535 too)."""
    value = int.from_bytes(data, "big")
    if len(data) & 1:
        value <<= 8
    return value % 0xFFFF


def checksum(data: bytes | bytearray | memoryview, pseudo_header: int = 0) -> int:
    """The checksum of ``data``, whose own checksum field is zero."""
    return -(words(data) + pseudo_header) % 0xFFFF


def is_correct(data: bytes | bytearray | memoryview, pseudo_header: int = 0) -> bool:
    """``data`` includes its checksum."""
    return (words(data) + pseudo_header) % 0xFFFF == 0


def updated(old: int, change: int) -> int:
    """The checksum after the sum of what it covers grew by ``change`` (RFC 1624)."""
    return (old - change) % 0xFFFF


def pseudo_header_v6(source: int, destination: int, length: int, protocol: int) -> int:
    """RFC 8200 section 8.1, as a sum."""
    return source + destination + length + protocol
