"""The packet builders and the dissector, judged by published bytes and by the kernel's stack."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.bpf.fields import checksum, difference, fields, wrong_checksums
from tests.bpf.harness import (
    ACK,
    MAC_A,
    RST,
    Fragment,
    Icmp,
    Icmpv6,
    Raw,
    Tcp,
    Udp,
    check_checksums,
    check_frame,
    destination_options,
    echo,
    echo6,
    echo6_reply,
    echo_reply,
    ether,
    hop_by_hop,
    ipv4,
    ipv6,
    routing,
    segment,
)
from tests.bpf.namespaces import ip, veth

US4, THEM4 = "192.0.2.1", "192.0.2.2"
US6, THEM6 = "2001:db8::1", "2001:db8::2"


@dataclass
class Wire:
    """Our end of a wire whose other end is the kernel's stack with THEM4 and THEM6."""

    socket: socket.socket
    mac: bytes

    def send(self, packet: bytes) -> None:
        self.socket.send(ether(packet, destination=self.mac))

    def answer(self, protocol: int) -> bytes:
        """The next frame that the kernel sends us with this transport."""
        while True:
            frame = self.socket.recv(65536)
            at = 14 + (9 if frame[12:14] == b"\x08\x00" else 6)
            if frame[:6] == MAC_A and frame[at] == protocol:
                return frame


@pytest.fixture
def wire(namespace: None) -> Iterator[Wire]:
    veth("ours", "theirs")
    ip("address", "add", f"{THEM4}/24", "dev", "theirs")
    ip("address", "add", f"{THEM6}/64", "dev", "theirs", "nodad")
    for address in (US4, US6):
        ip("neighbour", "add", address, "lladdr", MAC_A.hex(":"), "dev", "theirs")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as raw:
        raw.bind(("ours", 3))
        raw.settimeout(5)
        mac = bytes.fromhex(ip("-br", "link", "show", "theirs").split()[2].replace(":", ""))
        yield Wire(raw, mac)


def receiver(family: socket.AddressFamily, address: str) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_DGRAM)
    listening.bind((address, 4000))
    listening.settimeout(5)
    return listening


def test_checksum_of_a_published_header() -> None:
    """The IPv4 header that many texts use as the example: its checksum is 0xb861."""
    header = bytes.fromhex("45000073000040004011 0000 c0a80001c0a800c7")
    assert checksum(header) == 0xB861
    built = ipv4("192.168.0.1", "192.168.0.199", Raw(17, bytes(0x73 - 20)), ident=0)
    assert built[:20] == header[:10] + b"\xb8\x61" + header[12:]


@pytest.mark.parametrize("data", [b"", b"x", b"odd", b"even", bytes(range(256))])
def test_the_kernel_takes_our_udp(wire: Wire, data: bytes) -> None:
    with receiver(socket.AF_INET, THEM4) as four, receiver(socket.AF_INET6, THEM6) as six:
        wire.send(ipv4(US4, THEM4, Udp(99, 4000, b"wrong", checksum=1)))
        wire.send(ipv4(US4, THEM4, Udp(99, 4000, b"wrong"), header_checksum=1))
        wire.send(ipv4(US4, THEM4, Udp(99, 4000, data)))
        assert four.recv(1000) == data
        wire.send(ipv6(US6, THEM6, Udp(99, 4000, b"wrong", checksum=1)))
        wire.send(
            ipv6(
                US6,
                THEM6,
                Udp(99, 4000, data),
                extensions=[hop_by_hop(), destination_options(), Fragment(ident=9)],
            )
        )
        assert six.recv(1000) == data


def test_the_kernel_joins_our_fragments(wire: Wire) -> None:
    data = bytes(i & 0xFF for i in range(2000))
    with receiver(socket.AF_INET, THEM4) as four, receiver(socket.AF_INET6, THEM6) as six:
        whole = segment(Udp(99, 4000, data), US4, THEM4)
        wire.send(ipv4(US4, THEM4, Raw(17, whole[:1200]), ident=7, df=False, more=True))
        wire.send(ipv4(US4, THEM4, Raw(17, whole[1200:]), ident=7, df=False, offset=1200))
        assert four.recv(4000) == data
        whole = segment(Udp(99, 4000, data), US6, THEM6)
        for header, part in (
            (Fragment(1200, False, 7), whole[1200:]),
            (Fragment(0, True, 7), whole[:1200]),
        ):
            wire.send(ipv6(US6, THEM6, Raw(17, part), extensions=[header]))
        assert six.recv(4000) == data


@pytest.mark.parametrize("size", [0, 1, 56])
def test_the_kernel_answers_our_echo_and_we_read_its_answer(wire: Wire, size: int) -> None:
    wire.send(ipv4(US4, THEM4, echo(1, 2, bytes(size))))
    answer = wire.answer(1)
    check_checksums(answer)
    assert answer[34:] == segment(echo_reply(1, 2, bytes(size)), THEM4, US4)
    wire.send(ipv6(US6, THEM6, echo6(1, 2, bytes(size))))
    answer = wire.answer(58)
    check_checksums(answer)
    assert answer[54:] == segment(echo6_reply(1, 2, bytes(size)), THEM6, US6)


def test_the_kernel_refuses_our_tcp_with_rst(wire: Wire) -> None:
    wire.send(ipv4(US4, THEM4, Tcp(1000, 81, seq=10, options=b"\x02\x04\x05\xb4")))
    answer = wire.answer(6)
    check_checksums(answer)
    header = int.from_bytes(answer[18:20], "big")
    expected = ipv4(
        THEM4, US4, Tcp(81, 1000, ack=11, seq=0, window=0, flags=RST | ACK), ident=header
    )
    check_frame(answer[14:], expected, "ip")
    wire.send(ipv6(US6, THEM6, Tcp(1000, 81, b"data", seq=10, checksum=1)))  # not answered
    wire.send(ipv6(US6, THEM6, Tcp(1001, 81, b"data", seq=10)))
    assert int.from_bytes(wire.answer(6)[56:58], "big") == 1001


def test_the_kernel_quotes_our_packet_and_we_read_the_error(wire: Wire) -> None:
    asked = ipv4(US4, THEM4, Udp(99, 4001, b"nobody listens"))
    wire.send(asked)
    answer = wire.answer(1)
    check_checksums(answer)
    assert answer[14 + 28 :] == asked
    named = {each.name: each.text for each in fields(answer)}
    assert (named["icmp.type"], named["icmp.code"]) == ("3", "3")
    assert (named["inner.ipv4.src"], named["inner.udp.dport"]) == (US4, "4001")


@pytest.mark.parametrize(
    "frame",
    [
        ether(ipv4(US4, THEM4, Udp(1, 2, b"abc"), options=b"\x01" * 8)),
        ether(ipv4(US4, THEM4, Tcp(1, 2, b"abc", options=b"\x01" * 4)), vlans=[5]),
        ether(ipv4(US4, THEM4, Icmp(3, 4, b"\0\0\5\0", ipv4(THEM4, US4, Udp(1, 2, b"abc"))))),
        ether(ipv6(US6, THEM6, Udp(1, 2, b"abc"), extensions=[routing()]), vlans=[5, 6]),
        ether(ipv6(US6, THEM6, Icmpv6(2, 0, b"\0\0\5\0", ipv6(THEM6, US6, Tcp(1, 2, b"abc"))))),
    ],
)
def test_every_byte_has_a_name_and_every_damage_is_seen(frame: bytes) -> None:
    named = fields(frame)
    assert sum(each.size for each in named) == len(frame)
    assert len({each.name for each in named}) == len(named)
    assert wrong_checksums(frame) == []
    for at in range(len(frame)):
        damaged = frame[:at] + bytes((frame[at] ^ 1,)) + frame[at + 1 :]
        assert difference(damaged, frame), at
        fields(frame[:at])  # cut short anywhere, it is still readable


@pytest.mark.parametrize(
    ("packet", "name"),
    [
        (ipv4(US4, THEM4, Udp(1, 2), header_checksum=5), "ipv4.checksum"),
        (ipv4(US4, THEM4, Udp(1, 2, checksum=5)), "udp.checksum"),
        (ipv6(US6, THEM6, Udp(1, 2, checksum=0)), "udp.checksum"),
        (ipv4(US4, THEM4, Tcp(1, 2, checksum=5)), "tcp.checksum"),
        (ipv6(US6, THEM6, Tcp(1, 2, checksum=5)), "tcp.checksum"),
        (ipv4(US4, THEM4, Icmp(8, checksum=5)), "icmp.checksum"),
        (ipv6(US6, THEM6, Icmpv6(128, checksum=5)), "icmpv6.checksum"),
        (
            ipv4(US4, THEM4, Icmp(3, data=ipv4(THEM4, US4, Udp(1, 2, checksum=5)))),
            "inner.udp.checksum",
        ),
    ],
)
def test_a_wrong_checksum_is_named(packet: bytes, name: str) -> None:
    wrong = wrong_checksums(packet, "ip")
    assert len(wrong) == 1
    assert wrong[0].startswith(name + "=")
    with pytest.raises(AssertionError, match=name):
        check_checksums(packet, "ip")


def test_a_difference_names_the_fields() -> None:
    left = ether(ipv4(US4, THEM4, Udp(1, 2, b"abc"), ttl=63))
    right = ether(ipv4(US4, THEM4, Udp(1, 3, b"abc"), ttl=64))
    with pytest.raises(AssertionError) as failure:
        check_frame(left, right)
    text = str(failure.value)
    assert "ipv4.ttl: expected 64, got 63" in text
    assert "udp.dport: expected 3, got 2" in text
    assert "ipv4.src" not in text
