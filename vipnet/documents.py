"""Documents as text: JSON, and YAML where PyYAML is installed. Strict: no key twice, no number that is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast, get_args

from vipnet.errors import InputParameterError, NotSupportedError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Format", "as_text", "from_text"]

Format = Literal["json", "yaml"]

_DEEPEST = 20  # a document of ours has three levels


def as_text(document: Mapping[str, Any], format: str = "json", *, ascii: bool = False) -> str:
    """Write a document, always the same way; with `ascii` other characters are escaped. Ends with a newline.

    (In YAML, whether libyaml is there decides how emoji are written. JSON knows no such thing.)

    Raises InputParameterError for an unknown format, NotSupportedError for YAML without PyYAML.
    """
    if format == "json":
        return _as_json(document, json.JSONEncoder(ensure_ascii=ascii).encode)
    if format == "yaml":
        yaml = _yaml()
        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the one in C is ten times faster, where it was built
        return str(yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=not ascii, width=1000))
    raise InputParameterError(f"format {format!r} is unknown; use one of {', '.join(get_args(Format))}")


def _as_json(document: Mapping[str, Any], encode: Callable[[object], str]) -> str:
    """A line for each object, so that what changed between two exports is seen line by line."""
    parts = [f"  {encode(key)}: {_as_lines(value, encode)}" for key, value in document.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _as_lines(value: Any, encode: Callable[[object], str]) -> str:
    if not isinstance(value, list) or not value:
        return encode(cast(object, value))
    return "[\n" + ",\n".join(f"    {encode(row)}" for row in cast("list[object]", value)) + "\n  ]"


def from_text(text: str, *, name: str) -> Any:
    """Read a document called `name`, which may be a file's: YAML if it ends so or does not look like JSON.

    Raises InputParameterError for text that is neither, NotSupportedError for YAML without PyYAML.
    """
    is_yaml = name.endswith((".yaml", ".yml")) or not (name.endswith(".json") or text.lstrip()[:1] in ("{", "["))
    try:
        return _from_yaml(text) if is_yaml else _from_json(text)
    except (ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:200] if isinstance(error, ValueError) else "nested too deeply"
        kind = "YAML" if is_yaml else "JSON"
        raise InputParameterError(f"{name} is no {kind} document ({why}); give what vipnet export has written") from error


def _from_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} is there twice")
        found[key] = value
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _from_yaml(text: str) -> Any:
    yaml = _yaml()
    try:
        kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        _check_depth(yaml, yaml.parse(text, Loader=kind))
        loader = kind(text)
        try:
            node = loader.get_single_node()
            _check_keys(yaml, node, set())
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(error) from error


def _check_depth(yaml: ModuleType, events: Iterable[Any]) -> None:
    """Composing is recursive, and in C nothing but this keeps it from the end of the stack."""
    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")


def _check_keys(yaml: ModuleType, node: Any, seen: set[int]) -> None:
    """PyYAML lets the last of two equal keys win."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        _once([(key.value, None) for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
        for _, value in node.value:
            _check_keys(yaml, value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(yaml, item, seen)


def _yaml() -> ModuleType:
    try:
        import yaml
    except ImportError as error:
        raise NotSupportedError("YAML needs PyYAML, which is not installed: pip install 'vipnet[yaml]', or use JSON") from error
    return yaml
