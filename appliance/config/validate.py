"""Text → valid configuration, or every error at once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from appliance.config import checks
from appliance.config.document import Document, parse
from appliance.config.fields import field_kind, inner_model, is_list, is_mapping
from appliance.config.problems import ConfigError, Path, Problem, did_you_mean, found_text
from appliance.config.resolve import resolve
from appliance.config.schema import Configuration
from appliance.config.values import Appliance


@dataclass(frozen=True)
class Loaded:
    """A configuration that was accepted: the text with its comments, and its meaning."""

    document: Document
    appliance: Appliance

    @property
    def text(self) -> str:
        return self.document.text


def load(text: str, source: str = "the configuration") -> Loaded:
    """Raises ConfigError with every problem of the text, sorted by place."""
    try:
        document = parse(text)
    except ConfigError as error:
        raise ConfigError(error.problems, source) from None
    problems = list(document.problems)
    raw, schema_problems, pruned = _validated(document.data)
    problems += schema_problems
    if raw is not None:
        found = [problem.moved(pruned.original) for problem in checks.run(raw, pruned.touches)]
        problems += [problem for problem in found if not pruned.within(problem.path)]
    if problems or raw is None:
        placed = [problem.at(document.place(problem.path)) for problem in problems]
        placed.sort(key=lambda problem: (problem.line or 0, problem.column or 0))
        raise ConfigError(placed, source)
    return Loaded(document, resolve(raw))


def load_file(path: FilePath) -> Loaded:
    """Reads and loads a file; a file that cannot be read is a ConfigError too."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigError(
            [Problem((), f"cannot be read: {error.strerror}", "a readable file")], str(path)
        ) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem((), "not UTF-8 text", "UTF-8")], str(path)) from None
    return load(text, str(path))


class Pruned:
    """A copy of a document with what the schema refused cut out, so that checks can judge the rest.

    Indices move when list elements go; the paths that are kept are those of the user's document.
    """

    def __init__(self, data: object) -> None:
        self.data = _copy(data)
        self._paths: list[Path] = []

    def cut(self, paths: Iterable[Path]) -> None:
        """Takes away the smallest things that hold ``paths``, which are paths of ``data``."""
        gone: list[tuple[Path, Path]] = []  # as ``data`` has it, as the user's document has it
        # Highest index first, so that cutting one element does not move the others.
        for path in sorted(set(paths), key=_sort_key, reverse=True):
            while path and not self._has(path):  # a missing setting: its mapping goes
                path = path[:-1]
            if not path or any(path[: len(cut)] == cut for cut, _ in gone):
                continue
            gone.append((path, self.original(path)))
        for path, _ in gone:
            parent = _value_at(self.data, path[:-1])
            if isinstance(parent, dict | list):
                del parent[path[-1]]  # type: ignore[arg-type]
        self._paths += [original for _, original in gone]

    def _has(self, path: Path) -> bool:
        parent = _value_at(self.data, path[:-1])
        if isinstance(parent, dict):
            return path[-1] in parent
        return isinstance(parent, list) and isinstance(path[-1], int) and path[-1] < len(parent)

    def touches(self, section: Path) -> bool:
        """Whether anything at, above or below ``section`` was cut."""
        return any(
            path[: len(section)] == section or section[: len(path)] == path for path in self._paths
        )

    def within(self, place: Path) -> bool:
        """Whether something at or below ``place`` was cut: what a check says of it is moot."""
        return any(path[: len(place)] == place for path in self._paths)

    def original(self, path: Path) -> Path:
        """A path of ``data`` as the user's document has it."""
        steps: Path = ()
        for step in path:
            if isinstance(step, int):
                cuts = sorted(p[-1] for p in self._paths if p[:-1] == steps)
                for cut in cuts:
                    if isinstance(cut, int) and cut <= step:
                        step += 1
            steps = (*steps, step)
        return steps


def _value_at(data: object, path: Path) -> object:
    for step in path:
        if isinstance(data, dict):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            return None
    return data


def _copy(data: object) -> object:
    if isinstance(data, dict):
        return {key: _copy(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_copy(value) for value in data]
    return data


def _validated(data: object) -> tuple[Configuration | None, list[Problem], Pruned]:
    """The model, the schema's problems, and what had to be cut to get a model at all."""
    pruned = Pruned({} if data is None else data)
    problems: list[Problem] = []
    for round_ in range(8):
        try:
            return Configuration.model_validate(pruned.data), problems, pruned
        except ValidationError as error:
            found = _problems(error)
        if round_ == 0:
            problems = found  # what comes up later follows from the cuts
        pruned.cut(problem.path for problem in found)
        if isinstance(pruned.data, dict):
            pruned.data["version"] = 1
    return None, problems, pruned


def _sort_key(path: Path) -> list[tuple[int, int, str]]:
    return [(0, s, "") if isinstance(s, int) else (1, 0, s) for s in path]


def _problems(error: ValidationError) -> list[Problem]:
    """One each. A list whose elements are all wrong is not called empty as well."""
    errors = error.errors(include_url=False)
    paths = [one["loc"] for one in errors]
    return [
        _problem(one)
        for one in errors
        if one["type"] != "too_short" or not any(path[:-1] == one["loc"] for path in paths)
    ]


def _problem(error: Any) -> Problem:
    path: Path = tuple(step for step in error["loc"] if step != "[key]")
    match error["type"]:
        case "missing":
            allowed = _allowed_at(path)
            return Problem(path, "missing", allowed)
        case "extra_forbidden":
            known = [alias for alias, _ in _settings(_model_at(path[:-1]))]
            word = str(path[-1])
            return Problem(
                path, f"unknown setting {word!r}{did_you_mean(word, known)}", ", ".join(known)
            )
        case "value_error":
            found = path[-1] if error["loc"][-1] == "[key]" else error["input"]
            return Problem(path, f"found {found_text(found)}", str(error["ctx"]["error"]))
        case "too_short":
            return Problem(path, "an empty list", "at least one element")
        case "tuple_type":
            return Problem(path, f"found {found_text(error['input'])}", "a list")
        case _:
            return Problem(path, f"found {found_text(error['input'])}", "a mapping of settings")


def _settings(model: type[BaseModel] | None) -> Iterator[tuple[str, FieldInfo]]:
    for name, info in model.model_fields.items() if model else ():
        yield info.alias or name, info


def _model_at(path: Path) -> type[BaseModel] | None:
    model: type[BaseModel] | None = Configuration
    named = False  # the next step is a name that the user chose, or an index
    for step in path:
        if isinstance(step, int) or named:
            named = False
            continue
        info = dict(_settings(model)).get(step)
        if info is None:
            return None
        model = inner_model(info.annotation)
        named = is_mapping(info)
    return model


def _allowed_at(path: Path) -> str:
    info = dict(_settings(_model_at(path[:-1]))).get(str(path[-1]))
    if info is None:
        return "this setting"
    kind = field_kind(info)
    if kind is None:
        return "a mapping of settings"
    return f"a list of: {kind.allowed}" if is_list(info) else kind.allowed
