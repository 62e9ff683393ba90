"""The TUN device: packets that the kernel routes to the slow path, and those it gives back."""

import fcntl
import os
import struct

from appliance.slowpath.settings import SlowPathError

LONGEST_PACKET = 65575  # an IPv6 header and the most that its length field can say

_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000


class TunDevice:
    """Opened with privileges, used without. Persistent: it outlives this process."""

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self._descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise SlowPathError(
                f"cannot open /dev/net/tun: {error.strerror}", "the slow path needs TUN devices"
            ) from error
        try:
            request = struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI)
            fcntl.ioctl(self._descriptor, _TUNSETIFF, request)
            fcntl.ioctl(self._descriptor, _TUNSETPERSIST, 1)
        except OSError as error:
            os.close(self._descriptor)
            raise SlowPathError(
                f"cannot use the device {name}: {error.strerror}",
                "root opens it; only one process at a time has it",
            ) from error

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> bytes | None:
        """The next packet, or None when there is none now."""
        try:
            return os.read(self._descriptor, LONGEST_PACKET)
        except BlockingIOError:
            return None

    def write(self, packet: bytes) -> None:
        """Raises OSError when the kernel does not take it, as it does while the link is down."""
        os.write(self._descriptor, packet)

    def close(self) -> None:
        os.close(self._descriptor)
