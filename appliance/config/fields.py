"""What a schema field holds: its section, its kind, one or several."""

from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from appliance.config.kinds import Kind


def inner_model(annotation: object) -> type[BaseModel] | None:
    """The section that a field's annotation holds: bare, optional, in a tuple or in a dict."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in reversed(get_args(annotation)):
        found = inner_model(argument)
        if found:
            return found
    return None


def is_list(info: FieldInfo) -> bool:
    return tuple in (get_origin(info.annotation), *map(get_origin, get_args(info.annotation)))


def is_mapping(info: FieldInfo) -> bool:
    return get_origin(info.annotation) is dict


def field_kind(info: FieldInfo) -> Kind | None:
    """The kind of a field's value, or of its elements; None for sections."""
    if inner_model(info.annotation):
        return None
    for meta in info.metadata:
        if isinstance(meta, Kind):
            return meta
    return _kind_within(info.annotation)


def _kind_within(annotation: object) -> Kind | None:
    for meta in getattr(annotation, "__metadata__", ()):
        if isinstance(meta, Kind):
            return meta
    for argument in get_args(annotation):
        found = _kind_within(argument)
        if found:
            return found
    return None
