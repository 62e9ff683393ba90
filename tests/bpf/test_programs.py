"""Program runs and links, against the kernel (loader.bpf.c)."""

import os
import socket
import struct
import time
from pathlib import Path

import pytest

from bpf.errors import BpfError
from bpf.libbpf import (
    Link,
    Object,
    Program,
    RingBuffer,
    Verdict,
    attached_xdp,
    run_time_statistics,
)
from tests.bpf.namespaces import ip, received_packets, veth

FRAME = bytes(range(64))


class TestRuns:
    def test_what_comes_out(self, loaded: Object) -> None:
        result = loaded.program("grow").run(FRAME)
        assert result.retval == Verdict.TX
        assert result.data_out == b"\xee" * 6 + FRAME
        assert result.meta_out == struct.pack("<I", 7)
        assert result.duration_ns > 0

    def test_the_device_it_came_in_by(self, loaded: Object, namespace: None) -> None:
        number, _ = veth("left", "right")
        records: list[bytes] = []
        with RingBuffer(loaded.map("ring"), records.append) as ring:
            loaded.program("grow").run(FRAME, ingress_ifindex=number)
            ring.consume()
        assert records == [struct.pack("<II", len(FRAME), number)]
        with pytest.raises(BpfError, match="ENODEV|EINVAL"):
            loaded.program("grow").run(FRAME, ingress_ifindex=4000)

    @pytest.mark.parametrize("size", [14, 3520, 3521, 9000, 60000])
    def test_large_frames_are_fragments(self, loaded: Object, size: int) -> None:
        frame = os.urandom(size)
        result = loaded.program("grow").run(frame)
        assert result.data_out == b"\xee" * 6 + frame
        assert loaded.program("linear").run(frame).retval == min(size, 3520)

    def test_small_frames_can_be_fragments(self, loaded: Object) -> None:
        program = loaded.program("linear")
        if [int(part) for part in os.uname().release.split(".")[:2]] < [6, 18]:
            with pytest.raises(BpfError, match="EINVAL"):
                program.run(bytes(100), linear_bytes=60)
        else:
            assert program.run(bytes(100), linear_bytes=60).retval == 60

    @pytest.mark.parametrize("size", [0, 13])
    def test_frames_too_short_for_ethernet(self, loaded: Object, size: int) -> None:
        with pytest.raises(BpfError, match="EINVAL"):
            loaded.program("drop").run(bytes(size))

    def test_room_for_the_outcome(self, loaded: Object) -> None:
        with pytest.raises(BpfError, match="ENOSPC"):
            loaded.program("grow").run(FRAME, data_out_size=len(FRAME))
        assert loaded.program("drop").run(FRAME, data_out_size=0).data_out == b""

    def test_repeat_and_statistics(self, loaded: Object) -> None:
        program = loaded.program("constant")
        with run_time_statistics():
            program.run(FRAME, repeat=1000)
        info = program.info()
        assert info.run_count == 1000
        assert info.run_time_ns > 0
        assert info.verified_instructions > 5
        assert info.xlated_bytes > 40
        assert info.name == "constant"
        program.run(FRAME, repeat=1000)
        assert program.info().run_count == 1000
        assert Program.open_id(info.id).name == "constant"

    def test_live_frames_are_really_sent(self, loaded: Object, namespace: None) -> None:
        left, right = veth("left", "right")
        loaded.map("devices").update(struct.pack("<I", 7), struct.pack("<I", left))
        with Link.attach_xdp(loaded.program("drop"), right):  # veth's peer must take XDP frames
            before = received_packets("right")
            loaded.program("plain").run(
                FRAME, repeat=1000, ingress_ifindex=left, live_frames=True, batch_size=100
            )
            assert received_packets("right") - before == 1000
        with pytest.raises(BpfError, match="cannot run"):
            loaded.program("plain").run(FRAME, live_frames=True, batch_size=257)

    def test_a_cpu_that_is_not_there(self, loaded: Object) -> None:
        before = os.sched_getaffinity(0)
        with pytest.raises(BpfError, match="CPU 4000"):
            loaded.program("drop").run(FRAME, cpu=4000)
        assert os.sched_getaffinity(0) == before


class TestLinks:
    def test_attach_update_detach(self, loaded: Object, namespace: None) -> None:
        left, _ = veth("left", "right")
        drop, constant = loaded.program("drop"), loaded.program("constant")
        link = Link.attach_xdp(drop, left)
        assert (link.info().program_id, link.info().ifindex) == (drop.id, left)
        attached = attached_xdp(left)
        assert attached is not None and (attached.program_id, attached.generic) == (drop.id, False)
        link.update(constant, expected=drop)
        assert link.info().program_id == constant.id
        with pytest.raises(BpfError, match="does not run program"):
            link.update(constant, expected=drop)
        link.detach()
        assert attached_xdp(left) is None
        assert link.info().ifindex == 0
        with pytest.raises(BpfError, match="its device is gone"):
            link.update(drop)

    def test_packets_meet_it(self, loaded: Object, namespace: None) -> None:
        left, _ = veth("left", "right")
        records: list[bytes] = []
        with (
            Link.attach_xdp(loaded.program("grow"), left),
            RingBuffer(loaded.map("ring"), records.append) as ring,
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire,
        ):
            wire.bind(("right", 0))
            wire.send(FRAME)
            assert ring.poll(5000) >= 1
        assert struct.pack("<II", len(FRAME), left) in records

    def test_a_pinned_link_stays(self, loaded: Object, namespace: None, bpffs: Path) -> None:
        left, _ = veth("left", "right")
        link = Link.attach_xdp(loaded.program("drop"), left)
        link.pin(bpffs / "link")
        link.close()
        loaded.close()
        assert attached_xdp(left) is not None
        with Link.open_pinned(bpffs / "link") as again:
            assert again.info().ifindex == left
        (bpffs / "link").unlink()
        deadline = time.monotonic() + 5
        while attached_xdp(left) and time.monotonic() < deadline:  # the kernel frees pins later
            time.sleep(0.001)
        assert attached_xdp(left) is None

    def test_an_unpinned_link_goes_with_its_descriptor(
        self, loaded: Object, namespace: None
    ) -> None:
        left, _ = veth("left", "right")
        with Link.attach_xdp(loaded.program("drop"), left):
            assert attached_xdp(left) is not None
        assert attached_xdp(left) is None

    def test_generic(self, loaded: Object, namespace: None) -> None:
        left, _ = veth("left", "right")
        with Link.attach_xdp(loaded.program("drop"), left, generic=True):
            attached = attached_xdp(left)
            assert attached is not None and attached.generic

    def test_refusals(self, loaded: Object, namespace: None) -> None:
        left, _ = veth("left", "right")
        drop = loaded.program("drop")
        ip("link", "add", "bridge", "type", "bridge")
        with pytest.raises(BpfError, match="has no native XDP") as failure:
            Link.attach_xdp(drop, socket.if_nametoindex("bridge"))
        assert "generic" in failure.value.hint
        with pytest.raises(BpfError, match="there is no device 4000"):
            Link.attach_xdp(drop, 4000)
        with Link.attach_xdp(drop, left):
            with pytest.raises(BpfError, match=rf"already runs an XDP program \(program {drop.id}"):
                Link.attach_xdp(drop, left)
            with pytest.raises(BpfError, match="the other mode"):
                Link.attach_xdp(drop, left, generic=True)

    def test_a_large_mtu_needs_frags(self, loaded: Object, namespace: None) -> None:
        left, _ = veth("left", "right", "mtu", "9000")
        with pytest.raises(BpfError, match="ERANGE") as failure:
            Link.attach_xdp(loaded.program("plain"), left)
        assert "xdp.frags" in failure.value.hint
        Link.attach_xdp(loaded.program("drop"), left).close()

    def test_its_device_goes_away(self, loaded: Object, namespace: None) -> None:
        left, _ = veth("left", "right")
        with Link.attach_xdp(loaded.program("drop"), left) as link:
            ip("link", "delete", "left")
            assert link.info().ifindex == 0
            with pytest.raises(BpfError, match="its device is gone"):
                link.update(loaded.program("constant"))
