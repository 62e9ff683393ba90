"""The slow path's device: a persistent TUN that outlives every process."""

import fcntl
import os
import struct
from pathlib import Path

from appliance.daemon.desired import SLOW_DEVICE
from appliance.errors import SystemLacks

_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000


def ensure_slow_device() -> bool:
    """Makes the device when it is not there; True when this call made it."""
    if Path(f"/proc/sys/net/ipv4/conf/{SLOW_DEVICE}").exists():
        return False
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise SystemLacks(
            f"cannot open /dev/net/tun: {error.strerror}", "the slow path needs TUN devices"
        ) from error
    try:
        request = struct.pack("16sH22x", SLOW_DEVICE.encode(), _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(descriptor, _TUNSETIFF, request)
        fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)
    except OSError as error:
        raise SystemLacks(f"cannot make {SLOW_DEVICE}: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return True
