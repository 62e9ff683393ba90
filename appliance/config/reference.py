"""The reference page and the JSON Schema, both made from the schema.

``python -m appliance.config.reference`` writes docs/configuration.md anew; a test holds it current.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_jsonable_python

from appliance.config.fields import field_kind, inner_model, is_list, is_mapping
from appliance.config.schema import Configuration
from appliance.errors import ExitCode

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"

_INTRO = """\
# Configuration

<!-- Made from appliance/config/schema.py by `python -m appliance.config.reference`. -->

One YAML document says everything. `edge64 config validate FILE` shows every error in it at once,
with its place, and needs no daemon; `edge64 apply FILE` hands it to edge64d, which refuses it whole
or applies it whole and says what changed. Complete documents are in `docs/examples/`.

Addresses that hold `::` next to a bracket, a brace or a comma want quotes; anchors and tags are not
used.
"""

_EXIT_CODES = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "what was asked for did not work; running state is as before, or it is said",
    ExitCode.USAGE: "wrong option or argument",
    ExitCode.CONFIG: "the configuration was refused; every error is listed",
    ExitCode.NO_DAEMON: "edge64d does not answer",
    ExitCode.SYSTEM: "this machine lacks a privilege, an interface or a kernel feature",
}


class _Generator(GenerateJsonSchema):
    """Shows defaults, which are domain values, as the document would have them."""

    def encode_default(self, dft: Any) -> Any:
        return to_jsonable_python(dft, fallback=str)


def json_schema() -> dict[str, Any]:
    """JSON Schema of the document, for editors and other programs."""
    schema = Configuration.model_json_schema(by_alias=True, schema_generator=_Generator)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "edge64 configuration"
    return schema


def page() -> str:
    """docs/configuration.md."""
    parts = [_INTRO]
    for title, model in _sections(Configuration, ""):
        parts.append(f"\n## {title or 'The document'}\n\n{_doc(model)}\n")
        parts.append("\n| setting | what is allowed | default | meaning |\n|---|---|---|---|\n")
        parts += [_row(info) for info in model.model_fields.values()]
    parts.append("\n## Exit codes of `edge64`\n\n| code | meaning |\n|---|---|\n")
    parts += [f"| {code.value} | {_EXIT_CODES[code]} |\n" for code in ExitCode]
    return "".join(parts)


def _doc(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _sections(model: type[BaseModel], title: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield title, model
    for info in model.model_fields.values():
        inner = inner_model(info.annotation)
        if inner:
            name = f"{title}.{info.alias}" if title else str(info.alias)
            if is_list(info):
                name += "[]"
            if is_mapping(info):
                name += ".NAME"
            yield from _sections(inner, name)


def _row(info: FieldInfo) -> str:
    kind = field_kind(info)
    allowed = kind.allowed if kind else "a section of its own"
    if is_list(info):
        allowed = f"a list of: {allowed}"
    elif is_mapping(info):
        allowed = "sections by name"
    unit = info.json_schema_extra.get("unit") if isinstance(info.json_schema_extra, dict) else None
    meaning = info.description or ""
    if unit:
        meaning += f" In {unit}."
    if info.examples:
        meaning += f" Example: `{_yaml(info.examples[0])}`."
    cells = (f"`{info.alias}`", allowed, _default(info), meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.default
    if isinstance(value, BaseModel):
        return "its defaults"
    kind = field_kind(info)
    if kind is None:
        shown: object = value
    elif is_list(info) and value is not None:
        shown = [kind.show(one) for one in value]
    else:
        shown = kind.show(value) if value is not None or not is_list(info) else None
    return f"`{_yaml(shown)}`"


def _yaml(value: object) -> str:
    """A value as it may stand in a YAML document (JSON is YAML), bare where it can be."""
    if isinstance(value, str):
        return value
    return json.dumps(value, default=list)


if __name__ == "__main__":
    PAGE.write_text(page())
