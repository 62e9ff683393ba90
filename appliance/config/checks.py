"""Checks across settings. Each is one function over the raw model that yields its problems.

A check names the sections that must be whole for it to judge; when the schema already refused
something there, the check is left out rather than complaining about what follows from it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from appliance.config.check_addresses import (
    check_interface_addresses,
    check_mtu,
    check_own_addresses_not_translated,
    check_routes,
    check_vlans,
)
from appliance.config.check_resolver import check_resolver
from appliance.config.check_translation import (
    check_answered_addresses,
    check_eam_duplicates,
    check_eam_suffixes,
    check_pref64_duplicates,
    check_pref64_on_link,
    check_table_sizes,
    check_well_known_prefix,
)
from appliance.config.problems import Path, Problem
from appliance.config.schema import Configuration

Check = Callable[[Configuration], Iterator[Problem]]


@dataclass(frozen=True)
class _Row:
    check: Check
    needs: tuple[Path, ...] = ()


_INTERFACES: Path = ("interfaces",)
_DNS64: Path = ("dns64",)
_PREF64: Path = ("translation", "pref64")

CHECKS = (
    _Row(check_interface_addresses),
    _Row(check_mtu),
    _Row(check_vlans, (_INTERFACES,)),
    _Row(check_routes, (_INTERFACES,)),
    _Row(check_own_addresses_not_translated),
    _Row(check_table_sizes),
    _Row(check_pref64_duplicates),
    _Row(check_pref64_on_link),
    _Row(check_well_known_prefix),
    _Row(check_eam_duplicates),
    _Row(check_eam_suffixes),
    _Row(check_answered_addresses),
    _Row(check_resolver, (_INTERFACES, _DNS64, _PREF64)),
)


def run(raw: Configuration, touched: Callable[[Path], bool]) -> Iterator[Problem]:
    """Every problem of every check that can judge; ``touched`` says what was cut out."""
    for row in CHECKS:
        if not any(touched(section) for section in row.needs):
            yield from row.check(raw)
