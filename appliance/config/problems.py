"""What is wrong with a configuration: every error at once, each with its place."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from appliance.errors import ApplianceError, ExitCode

Path = tuple[str | int, ...]


def path_text(path: Path) -> str:
    """``("routes", 0, "via")`` as ``routes[0].via``; the document itself is ``(document)``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text or "(document)"


def found_text(value: object) -> str:
    """A value as the user wrote it, cut short."""
    match value:
        case None:
            text = "null"
        case bool():
            text = str(value).lower()
        case dict():
            text = "a mapping"
        case list() | tuple():
            text = "a list"
        case str():
            text = repr(value)
        case _:
            text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``", did you mean 'x'?"``, or nothing when no known word is close."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else ""


@dataclass(frozen=True)
class Problem:
    """One error: where, what was found there, what is allowed. ``line`` counts from 1.

    ``{other}`` in a text stands for ``other``, another setting that has to do with it.
    """

    path: Path
    found: str
    allowed: str
    line: int | None = None
    column: int | None = None
    other: Path | None = None

    def moved(self, original: Callable[[Path], Path]) -> "Problem":
        """The same problem with its paths as ``original`` says, ``{other}`` filled in."""
        if self.other is None:
            return replace(self, path=original(self.path))
        name = path_text(original(self.other))
        return replace(
            self,
            path=original(self.path),
            found=self.found.replace("{other}", name),
            allowed=self.allowed.replace("{other}", name),
            other=None,
        )

    def at(self, place: tuple[int, int] | None) -> "Problem":
        """The same problem with its line and column, where it had none."""
        if place is None or self.line is not None:
            return self
        return replace(self, line=place[0], column=place[1])

    def __str__(self) -> str:
        where = path_text(self.path)
        if self.line is not None:
            where += f" (line {self.line}, column {self.column})"
        return f"{where}: {self.found}; allowed: {self.allowed}"

    def as_json(self) -> dict[str, object]:
        return {
            "path": path_text(self.path),
            "found": self.found,
            "allowed": self.allowed,
            "line": self.line,
            "column": self.column,
        }


class ConfigError(ApplianceError):
    """A configuration is refused; ``problems`` has every reason, in the document's order."""

    exit_code = ExitCode.CONFIG

    def __init__(self, problems: Sequence[Problem], source: str = "the configuration") -> None:
        count = len(problems)
        super().__init__(f"{source}: {count} error{'s' if count != 1 else ''}")
        self.problems = tuple(problems)
