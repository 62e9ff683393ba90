"""Valid and mangled packets for the property test, made from known ones by a seeded choice.

Bits flipped at random would mostly break a checksum and be refused at the door, so what is
changed is mostly a field that means something, and the checksums around it are mostly mended.
"""

from collections.abc import Callable
from random import Random

from tests.bpf.fields import checksum, pseudo_header

_INTERESTING = (0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 17, 19, 20, 33, 40, 43, 44, 50, 51, 58, 59,
                60, 63, 64, 96, 127, 128, 129, 130, 132, 136, 137, 200, 254, 255)  # fmt: skip
_IPV4_FIELDS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 16, 19)
_IPV6_FIELDS = (0, 1, 2, 3, 4, 5, 6, 6, 6, 7, 8, 23, 24, 39)


def mutated(packet: bytes, random: Random) -> bytes:
    """``packet`` after none to four changes, most often with its checksums right."""
    made = bytearray(packet)
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        random.choice(_CHANGES)(made, random)
    if random.random() < 0.9:
        mend(made, inner=random.random() < 0.5)
    return bytes(made)


def _header_octet(made: bytearray, random: Random) -> None:
    if made:
        fields = _IPV4_FIELDS if made[0] >> 4 == 4 else _IPV6_FIELDS
        at = random.choice(fields)
        if at < len(made):
            made[at] = random.choice(_INTERESTING)


def _any_octet(made: bytearray, random: Random) -> None:
    if made:
        made[random.randrange(min(len(made), 140))] = random.choice(_INTERESTING)


def _any_bit(made: bytearray, random: Random) -> None:
    if made:
        made[random.randrange(min(len(made), 140))] ^= 1 << random.randrange(8)


def _cut(made: bytearray, random: Random) -> None:
    if len(made) > 1:
        del made[random.randrange(max(1, len(made) - 60), len(made)) :]
        _set_length(made)


def _cut_and_lie(made: bytearray, random: Random) -> None:
    if len(made) > 1:
        del made[random.randrange(1, len(made)) :]


def _grow(made: bytearray, random: Random) -> None:
    made += random.randbytes(random.choice((1, 2, 3, 4, 7, 8, 100, 600, 1200)))
    if random.random() < 0.8:
        _set_length(made)


def _repeat(made: bytearray, random: Random) -> None:
    """A run of octets comes twice: extension headers, options, quoted packets."""
    if len(made) > 48:
        start = random.choice((20, 28, 40, 48, random.randrange(20, len(made))))
        run = made[start : start + random.choice((4, 8, 16, 20, 40))]
        made[start:start] = run
        _set_length(made)


def _insert(made: bytearray, random: Random) -> None:
    """A new extension header, or IPv4 options."""
    if len(made) < 40:
        return
    if made[0] >> 4 == 6:
        kind = random.choice((0, 43, 60, 44, 44, 51))
        body = bytearray(random.choice((bytes(7), random.randbytes(7))))
        if kind != 44:
            body[0] = 0
        made[40:40] = bytes((made[6],)) + body
        made[6] = kind
    else:
        words = made[0] & 15
        if words < 15 and len(made) >= words * 4:
            made[20:20] = random.choice(
                (
                    bytes(4),
                    b"\x01\x01\x01\x00",
                    b"\x83\x03\x04\x00",
                    b"\x83\x03\x02\x00",
                    b"\x94\x04\x00\x00",
                    b"\x07\x05\x00\x00",
                    b"\x89\x02\x00\x00",
                )  # fmt: skip
            )
            made[0] += 1
    _set_length(made)


def _fragment(made: bytearray, random: Random) -> None:
    place = random.choice((0, 1, 2, 185, 8191, random.randrange(8192)))
    more = random.random() < 0.5
    if len(made) >= 20 and made[0] >> 4 == 4:
        flags = place | more << 13 | (random.random() < 0.3) << 14
        made[6:8] = flags.to_bytes(2, "big")
    elif len(made) >= 40:
        made[40:40] = bytes((made[6], 0)) + (place << 3 | more).to_bytes(2, "big") + bytes(4)
        made[6] = 44
        _set_length(made)


_CHANGES: tuple[Callable[[bytearray, Random], None], ...] = (
    _header_octet,
    _header_octet,
    _any_octet,
    _any_bit,
    _cut,
    _cut_and_lie,
    _grow,
    _repeat,
    _insert,
    _fragment,
)


def _set_length(made: bytearray) -> None:
    if len(made) >= 20 and made[0] >> 4 == 4:
        made[2:4] = min(len(made), 65535).to_bytes(2, "big")
    elif len(made) >= 40:
        made[4:6] = min(len(made) - 40, 65535).to_bytes(2, "big")


def mend(made: bytearray, inner: bool) -> None:
    """Put right the checksums of headers, of ICMP, TCP and UDP, and, if asked, of a quoted head."""
    if len(made) < 20:
        return
    if made[0] >> 4 == 4:
        head = (made[0] & 15) * 4
        if 20 <= head <= len(made):
            start = head
            proto = made[9]
            if inner:
                _mend_quote(made, start, proto)
            _mend_upper(made, start, proto, bytes(made[12:16]), bytes(made[16:20]))
            made[10:12] = bytes(2)
            made[10:12] = checksum(bytes(made[:head])).to_bytes(2, "big")
    elif len(made) >= 40:
        start, proto = 40, made[6]
        while proto in (0, 43, 60, 44) and start + 8 <= len(made):
            step = 8 if proto == 44 else (made[start + 1] + 1) * 8
            proto, start = made[start], start + step
        if inner:
            _mend_quote(made, start, proto)
        _mend_upper(made, start, proto, bytes(made[8:24]), bytes(made[24:40]))


def _mend_quote(made: bytearray, start: int, proto: int) -> None:
    if proto in (1, 58) and start + 28 <= len(made) and made[start + 8] >> 4 == 4:
        quote = made[start + 8 :]
        mend(quote, inner=False)
        made[start + 8 :] = quote


def _mend_upper(made: bytearray, start: int, proto: int, source: bytes, to: bytes) -> None:
    place = {1: 2, 58: 2, 6: 16, 17: 6, 33: 6, 136: 6}.get(proto)
    if place is None or start + place + 2 > len(made):
        return
    at = start + place
    if proto == 17 and made[at : at + 2] == b"\0\0":
        return
    made[at : at + 2] = bytes(2)
    covered = bytes(made[start:])
    pseudo = b"" if proto == 1 else pseudo_header(source, to, proto, len(covered))
    made[at : at + 2] = checksum(pseudo + covered).to_bytes(2, "big")
