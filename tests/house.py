"""The rules that linters do not know: which part may import which."""

import ast
from collections.abc import Iterator
from pathlib import Path

# What each part may import of the house. Arrows point one way: appliance, dns64, bpf.
MAY_IMPORT = {
    "appliance": {"appliance", "dns64", "bpf"},
    "dns64": {"dns64", "bpf"},
    "bpf": {"bpf"},
}
PARTS = {*MAY_IMPORT, "tests"}


def imported_parts(source: str) -> Iterator[tuple[int, str]]:
    """Line and part of every import of the house's own code in one module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        for name in names:
            part = name.partition(".")[0]
            if part in PARTS:
                yield node.lineno, part


def wrong_imports(root: Path) -> list[str]:
    """Every import against the direction, as ``file:line: what``."""
    return [
        f"{path.relative_to(root)}:{line}: {part} may not import {imported}"
        for part, allowed in MAY_IMPORT.items()
        for path in sorted((root / part).rglob("*.py"))
        for line, imported in imported_parts(path.read_text())
        if imported not in allowed
    ]
