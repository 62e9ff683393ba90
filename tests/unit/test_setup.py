"""scripts/setup says what is missing in one line, with what to do, and touches nothing."""

import os
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "scripts/setup"


def answering(folder: Path, program: str, answer: str) -> None:
    """Put a program of that name into ``folder`` that prints ``answer``."""
    path = folder / program
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)


def refused(folder: Path, prepare: str = ":") -> str:
    """What set-up says with ``folder`` first on PATH, after ``prepare`` in its own mounts."""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-euc", f'{prepare}; exec "$0"', str(SETUP)],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_who_is_not_root_is_told(tmp_path: Path) -> None:
    answering(tmp_path, "id", "1000")
    assert "needs root" in refused(tmp_path)


@pytest.mark.parametrize("kernel", ["6.1.0-35-amd64", "6.11.9", "5.10.0-30-amd64"])
def test_old_kernel_is_named_with_the_cure(kernel: str, tmp_path: Path) -> None:
    answering(tmp_path, "uname", kernel)
    said = refused(tmp_path)
    assert f"the kernel is {kernel}, older than 6.12; install linux-image-amd64" in said


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("ID=debian\nVERSION_ID=11\n", "debian 11"),
        ("ID=fedora\nVERSION_ID=42\n", "fedora 42"),
        ("ID=debian\n", "debian testing"),
    ],
)
def test_other_system_is_named(release: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text(release)
    said = refused(tmp_path, f"mount --bind {tmp_path}/os-release /etc/os-release")
    assert said == f"edge64: this is {name}; use a Debian 12 or 13\n"


def test_kernel_without_btf_is_told(tmp_path: Path) -> None:
    said = refused(tmp_path, "mount -t tmpfs none /sys/kernel")
    assert "/sys/kernel/btf/vmlinux is missing" in said
    assert "CONFIG_DEBUG_INFO_BTF" in said


def test_old_python_is_told(tmp_path: Path) -> None:
    answering(tmp_path, "python3", "3.9")
    said = refused(tmp_path, f"mount --bind {tmp_path}/python3 $(readlink -f /usr/bin/python3)")
    assert "/usr/bin/python3 is Python 3.9" in said
