"""The consumer of a BPF ring buffer."""

import errno
from collections.abc import Callable
from ctypes import c_void_p, get_errno, string_at

from bpf.errors import BpfError
from bpf.handles import Closing
from bpf.maps import Map, MapType
from bpf.native import SAMPLE_FUNCTION, check, error_name, libbpf


class RingBuffer(Closing):
    """Hands each record of ``ring`` to ``callback`` as bytes, in order.

    An exception of the callback ends the poll and comes out of it; its record is consumed.
    One thread at a time; one consumer for each ring.
    """

    def __init__(self, ring: Map, callback: Callable[[bytes], None]) -> None:
        if ring.type != MapType.RINGBUF:
            raise BpfError(f"map {ring.name} is no ring buffer, it is {MapType.label(ring.type)}")
        self._callback = callback
        self._failure: BaseException | None = None
        self._sample = SAMPLE_FUNCTION(self._take)  # libbpf keeps only its address
        self._ring: int | None = libbpf.ring_buffer__new(ring.fd, self._sample, None, None)
        if not self._ring:
            raise BpfError(f"cannot read ring {ring.name}: {error_name(get_errno())}")

    def poll(self, timeout_ms: int) -> int:
        """Wait for records at most that long (-1: for ever); how many were handed over."""
        return self._finish(int(libbpf.ring_buffer__poll(self._open_ring(), timeout_ms)))

    def consume(self) -> int:
        """Hand over what is there, without waiting; how many."""
        return self._finish(int(libbpf.ring_buffer__consume(self._open_ring())))

    def fileno(self) -> int:
        """A descriptor that becomes readable when records came (for an event loop)."""
        return int(libbpf.ring_buffer__epoll_fd(self._open_ring()))

    def close(self) -> None:
        if self._ring:
            ring, self._ring = self._ring, None
            libbpf.ring_buffer__free(ring)

    def _open_ring(self) -> c_void_p:
        if not self._ring:
            raise BpfError("this ring buffer is closed")
        return c_void_p(self._ring)

    def _take(self, _context: int, data: int, size: int) -> int:
        try:
            self._callback(string_at(data, size))
        except BaseException as error:  # it may not pass through C frames
            self._failure = error
            return -errno.ECANCELED
        return 0

    def _finish(self, result: int) -> int:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        if result == -errno.EINTR:
            return 0
        return check(result, "read a ring buffer")
