"""The set-up and the house's own rules: versions, lock, packages, import direction."""

import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import bcc
import pytest

from tests.house import MAY_IMPORT, imported_parts, wrong_imports

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements/lock.txt").read_text()
PINS = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, re.MULTILINE))
DEBIAN13 = {
    name: (pinned, debian)
    for name, pinned, debian in re.findall(
        r"^([a-z0-9-]+)==(\S+)  # \S+ (\S+)$",
        (ROOT / "requirements/debian13.txt").read_text(),
        re.MULTILINE,
    )
}
# Pins without a package in Debian 13. A development tool may; what the product imports may not.
NO_DEBIAN_PACKAGE = {"ruff"}


def named_in(file: str) -> set[str]:
    lines = (ROOT / "requirements" / file).read_text().splitlines()
    names = {line.split("#")[0].split("==")[0].strip() for line in lines}
    return {name for name in names if name and not name.startswith("-r")}


def tracked_files() -> list[Path]:
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_every_pin_is_debian_13s() -> None:
    differing = {
        name: (pin, DEBIAN13.get(name, ("no row in debian13.txt", ""))[0])
        for name, pin in PINS.items()
        if name not in NO_DEBIAN_PACKAGE and DEBIAN13.get(name, ("", ""))[0] != pin
    }
    assert len(PINS) > 30
    assert differing == {}


def test_debian13_table_has_no_row_that_is_not_locked() -> None:
    assert DEBIAN13.keys() - PINS.keys() == set()


@pytest.mark.parametrize("name", DEBIAN13)
def test_version_in_debian13_table_is_debians_own(name: str) -> None:
    pinned, debian = DEBIAN13[name]
    assert re.search(rf"(?:^|\.){re.escape(pinned)}(?:[+-]|$)", debian)


def test_exceptions_are_not_in_debian_and_not_in_the_product() -> None:
    assert NO_DEBIAN_PACKAGE & DEBIAN13.keys() == set()
    assert NO_DEBIAN_PACKAGE <= PINS.keys()
    assert NO_DEBIAN_PACKAGE & named_in("product.in") == set()


def test_all_that_is_asked_for_is_locked() -> None:
    asked = named_in("product.in") | named_in("development.in")
    assert len(asked) > 15
    assert asked <= PINS.keys()


def test_every_pin_has_a_hash_and_the_lock_names_no_index() -> None:
    pins = re.split(r"(?m)^(?=[a-z0-9-]+==)", LOCK)[1:]
    assert len(pins) == len(PINS)
    assert [pin for pin in pins if "--hash=sha256:" not in pin] == []
    assert not re.search(r"://|--(?:index|extra|find|trusted)", LOCK)


def test_the_environment_is_the_lock() -> None:
    everywhere = PINS.keys() - {"ruamel-yaml-clib"}  # only for Python before 3.13
    assert {name: version(name) for name in everywhere} == {name: PINS[name] for name in everywhere}


def test_bcc_is_debians_and_no_dependency() -> None:
    assert bcc.__file__ is not None
    assert Path(bcc.__file__).resolve().is_relative_to("/usr/lib/python3/dist-packages/bcc")
    assert "bcc" not in PINS


def test_packages_are_plain_names_each_once() -> None:
    lines = (ROOT / "scripts/packages").read_text().splitlines()
    names = [line for line in lines if line and not line.startswith("#")]
    assert [name for name in names if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name)] == []
    assert len(names) == len(set(names))


def test_imports_point_one_way() -> None:
    assert wrong_imports(ROOT) == []


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("bpf", "import dns64"),
        ("bpf", "def late() -> None:\n    from appliance.config import document"),
        ("dns64", "from appliance import errors"),
        ("dns64", "import appliance.errors as e"),
        ("appliance", "from tests.house import MAY_IMPORT"),
    ],
)
def test_import_against_the_direction_is_found(part: str, source: str, tmp_path: Path) -> None:
    for name in MAY_IMPORT:
        (tmp_path / name).mkdir()
    (tmp_path / part / "wrong.py").write_text(source)
    assert len(wrong_imports(tmp_path)) == 1


def test_relative_and_foreign_imports_are_nobodys_business() -> None:
    assert list(imported_parts("from . import bpf\nimport struct\nfrom click import echo")) == []


def test_no_file_names_one_machine() -> None:
    # In two pieces, so that this file does not find itself.
    told = [
        r"(?<![\w.])/wo" r"rk/",
        r"(?<![\w.])/ro" r"ot/(?!\.)",
        r"deb\.deb" r"ian\.org",
        r"pypi\.o" r"rg",
    ]
    pattern = re.compile("|".join(told).encode())
    found = [
        str(path.relative_to(ROOT)) for path in tracked_files() if pattern.search(path.read_bytes())
    ]
    assert found == []
