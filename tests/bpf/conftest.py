"""What every test of the bpf tier can ask for."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpf.libbpf import Object, mount_bpffs, unmount_bpffs
from bpf.objects import object_path
from tests.bpf.namespaces import fresh_namespace


@pytest.fixture
def namespace() -> Iterator[None]:
    """The test runs in a network namespace of its own."""
    with fresh_namespace():
        yield


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    """An empty bpffs of the test's own."""
    path = tmp_path / "bpffs"
    mount_bpffs(path)
    yield path
    unmount_bpffs(path)


@pytest.fixture
def open_object() -> Iterator[Callable[[str], Object]]:
    """``open_object("edge64")`` opens the compiled object; closed when the test ends."""
    opened: list[Object] = []

    def open_one(name: str) -> Object:
        opened.append(Object.open(object_path(name)))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


@pytest.fixture
def fresh(open_object: Callable[[str], Object]) -> Object:
    """loader.bpf.c, open: it shows each ability of the loader."""
    return open_object("loader")


@pytest.fixture
def loaded(fresh: Object) -> Object:
    """loader.bpf.c, loaded as it is."""
    fresh.load()
    return fresh
