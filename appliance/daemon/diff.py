"""What differs between two documents, setting by setting (pure)."""

from appliance.config.problems import Path, found_text, path_text


def differences(before: object, after: object) -> list[str]:
    """One line each: ``routes[1].via: '192.0.2.1' → '192.0.2.2'``."""
    found: list[str] = []
    _walk((), before, after, found)
    return found


_NOTHING = object()


def _walk(path: Path, before: object, after: object, found: list[str]) -> None:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            _walk((*path, key), before.get(key, _NOTHING), after.get(key, _NOTHING), found)
        return
    if isinstance(before, list) and isinstance(after, list):
        _walk_lists(path, before, after, found)
        return
    if before == after and type(before) is type(after):
        return
    where = path_text(path)
    if before is _NOTHING:
        found.append(f"{where}: added {_shown(after)}")
    elif after is _NOTHING:
        found.append(f"{where}: removed {_shown(before)}")
    else:
        found.append(f"{where}: {_shown(before)} → {_shown(after)}")


def _walk_lists(path: Path, before: list[object], after: list[object], found: list[str]) -> None:
    """Same length: element by element. Else what is only in one of them, by value."""
    if len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            _walk((*path, index), old, new, found)
        return
    kept, known = {repr(new) for new in after}, {repr(old) for old in before}
    for index, old in enumerate(before):
        if repr(old) not in kept:
            found.append(f"{path_text((*path, index))}: removed {_shown(old)}")
    for index, new in enumerate(after):
        if repr(new) not in known:
            found.append(f"{path_text((*path, index))}: added {_shown(new)}")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{key}: {_shown(one)}" for key, one in list(value.items())[:4])
        return "{" + inner + (", ..." if len(value) > 4 else "") + "}"
    if isinstance(value, list):
        inner = ", ".join(_shown(one) for one in value[:4])
        return "[" + inner + (", ..." if len(value) > 4 else "") + "]"
    return value if isinstance(value, str) else found_text(value)
