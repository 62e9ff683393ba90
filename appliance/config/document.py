"""YAML text → plain data with the place of every value; every fault of the text at once.

Built from the parser's events, so that duplicate keys, anchors and tags are seen here and nesting
cannot exhaust the stack. Comments survive because the text itself is what is kept.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from appliance.config.problems import ConfigError, Path, Problem

MAX_BYTES = 8 << 20
MAX_DEPTH = 32

Place = tuple[int, int]  # line and column, from 1


@dataclass(frozen=True)
class Document:
    """A parsed document. ``places`` has the position of every key and list element."""

    text: str
    data: object
    places: dict[Path, Place]
    problems: tuple[Problem, ...] = ()

    def place(self, path: Path) -> Place | None:
        """The place of a path, or of the nearest thing around it that is in the text."""
        while path not in self.places:
            if not path:
                return None
            path = path[:-1]
        return self.places[path]


def parse(text: str) -> Document:
    """Reads a document; raises ConfigError when the text is not YAML at all."""
    if len(text.encode()) > MAX_BYTES:
        raise ConfigError([Problem((), "the document is too long", f"{MAX_BYTES >> 20} MiB")])
    try:
        events = _events(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ConfigError([_syntax(str(error.problem or error), place)]) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError([_syntax(str(error.reason), (line, 1))]) from None
    except (YAMLError, RecursionError) as error:
        raise ConfigError([_syntax(str(error).splitlines()[0], (1, 1))]) from None
    builder = _Builder()
    for event in events:
        builder.take(event)
    return Document(text, builder.root, builder.places, tuple(builder.problems))


def _events(text: str) -> list[Event]:
    """The parser's events: libyaml's when it can, which is fast; it knows less of YAML 1.2
    (``[2001:db8::1/64]``), so the pure parser has the last word, also on errors."""
    try:
        return list(_checked_depth(YAML(typ="safe", pure=False).parse(text)))
    except YAMLError:
        return list(_checked_depth(YAML(typ="safe", pure=True).parse(text)))


def _checked_depth(events: Iterator[Event]) -> Iterator[Event]:
    depth = 0
    documents = 0
    for event in events:
        match event:
            case MappingStartEvent() | SequenceStartEvent():
                depth += 1
                if depth > MAX_DEPTH:
                    raise MarkedYAMLError(
                        problem=f"nested deeper than {MAX_DEPTH}", problem_mark=event.start_mark
                    )
            case MappingEndEvent() | SequenceEndEvent():
                depth -= 1
            case DocumentStartEvent():
                documents += 1
                if documents > 1:
                    raise MarkedYAMLError(
                        problem="a second document starts here", problem_mark=event.start_mark
                    )
        yield event


def _syntax(what: str, place: Place) -> Problem:
    return Problem((), f"not YAML: {what}", "one YAML document", *place)


_INTEGER = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def _plain(text: str) -> object:
    """The value of a plain scalar by YAML 1.2's core schema."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if len(text) <= 20 and _INTEGER.fullmatch(text):
        return int(text, 10) if text.lstrip("+-").isdigit() else int(text, 0)
    if len(text) <= 40 and _FLOAT.fullmatch(text):
        return float(text)
    return text


@dataclass
class _Open:
    """A mapping or list that is being read."""

    path: Path
    value: dict[str, object] | list[object]
    key: str | None = None
    skip: bool = False  # the value of a key that is not taken


@dataclass
class _Builder:
    root: object = None
    places: dict[Path, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)

    def take(self, event: Event) -> None:
        match event:
            case ScalarEvent():
                self._scalar(event)
            case MappingStartEvent():
                self._open({}, event)
            case SequenceStartEvent():
                self._open([], event)
            case MappingEndEvent() | SequenceEndEvent():
                self.stack.pop()
            case AliasEvent():
                self._fault(event, f"the alias *{event.anchor}", "values written out in full")
                self._put(None, event)

    def _scalar(self, event: ScalarEvent) -> None:
        self._no_extras(event)
        plain = bool(event.implicit and event.implicit[0])
        if self._wants_key():
            self._key(str(event.value), event)
        else:
            self._put(_plain(event.value) if plain else event.value, event)

    def _wants_key(self) -> bool:
        return bool(
            self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None
        )

    def _key(self, key: str, event: Event) -> None:
        top = self.stack[-1]
        assert isinstance(top.value, dict)
        top.key = key
        top.skip = key in top.value
        if top.skip:
            first = self.places[(*top.path, key)][0]
            self._fault(event, f"{key!r} again", f"each key once (it is in line {first} already)")
        else:
            self.places[(*top.path, key)] = _place(event)

    def _open(
        self,
        value: dict[str, object] | list[object],
        event: MappingStartEvent | SequenceStartEvent,
    ) -> None:
        self._no_extras(event)
        if self._wants_key():
            self._fault(event, "a key that is no plain word", "a setting's name")
            self.stack[-1].key = ""
            self.stack[-1].skip = True
        path = self._put(value, event)
        self.stack.append(_Open(path, value))

    def _put(self, value: object, event: Event) -> Path:
        """Stores a finished or opened value where the document has it; returns its path."""
        if not self.stack:
            self.root = value
            self.places[()] = _place(event)
            return ()
        top = self.stack[-1]
        if isinstance(top.value, list):
            path = (*top.path, len(top.value))
            top.value.append(value)
            self.places.setdefault(path, _place(event))
            return path
        if top.key is None:  # an alias where a key should be
            top.key = ""
            top.skip = True
            return top.path
        path = (*top.path, top.key)
        if not top.skip:
            top.value[top.key] = value
        top.key = None
        return path

    def _no_extras(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> None:
        if event.anchor:
            self._fault(event, f"the anchor &{event.anchor}", "values without anchors")
        if getattr(event, "tag", None):
            self._fault(event, f"the tag {event.tag}", "values without tags")

    def _fault(self, event: Event, found: str, allowed: str) -> None:
        path: Path = ()
        if self.stack:
            top = self.stack[-1]
            path = top.path if top.key is None else (*top.path, top.key)
            if isinstance(top.value, list):
                path = (*path, len(top.value))
        self.problems.append(Problem(path, found, allowed, *_place(event)))


def _place(event: Event) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1
