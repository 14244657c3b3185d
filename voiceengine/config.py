"""Settings: one typed object, filled from defaults, a TOML file, the environment and the command line.

Environment variables are `VOICEENGINE_SECTION__KEY`; lists and tables are written as JSON there.
What exists stands in `sections`; reference: docs/reference/settings.md (made from it).
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo

from voiceengine.errors import ConfigError
from voiceengine.sections import (
    Calls,
    Codec,
    Data,
    Demo,
    HostPort,
    Http,
    Listener,
    Mail,
    Media,
    Messages,
    NumberRange,
    Numbers,
    OutboundProxy,
    PortRange,
    Section,
    Sip,
    Speech,
    Web,
)

__all__ = [
    "ENV_PREFIX",
    "Codec",
    "HostPort",
    "Listener",
    "Mail",
    "Messages",
    "NumberRange",
    "OutboundProxy",
    "PortRange",
    "Settings",
    "Sip",
    "Web",
    "effective",
    "load",
    "sections",
]

ENV_PREFIX = "VOICEENGINE_"


class Settings(Section):
    """All settings of the engine."""

    sip: Sip = Field(default_factory=Sip)
    media: Media = Field(default_factory=Media)
    speech: Speech = Field(default_factory=Speech)
    web: Web = Field(default_factory=Web)
    http: Http = Field(default_factory=Http)
    calls: Calls = Field(default_factory=Calls)
    messages: Messages = Field(default_factory=Messages)
    mail: Mail = Field(default_factory=Mail)
    numbers: Numbers = Field(default_factory=Numbers)
    data: Data = Field(default_factory=Data)
    demo: Demo = Field(default_factory=Demo)


def sections() -> dict[str, type[BaseModel]]:
    """Name and model of each section."""
    found: dict[str, type[BaseModel]] = {}
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found[name] = field.annotation
    return found


def _fields(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    return model.model_fields


def _from_environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for variable, text in environ.items():
        if not variable.startswith(ENV_PREFIX) or "__" not in variable:
            continue
        path = [part.lower() for part in variable.removeprefix(ENV_PREFIX).split("__")]
        value: Any = text
        if text[:1] in ("[", "{"):
            try:
                value = json.loads(text)
            except ValueError as error:
                raise ConfigError(f"environment {variable}={text!r} is not valid JSON: {error}") from error
        _put(values, path, value, f"environment {variable}")
        origin[".".join(path)] = f"environment {variable}"
    return values, origin


def _put(tree: dict[str, Any], path: list[str], value: Any, where: str) -> None:
    for index, part in enumerate(path[:-1]):
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            key = ".".join(path[: index + 1])
            raise ConfigError(f"{'.'.join(path)} ({where}): {key} is one value, it has nothing below it")
    if isinstance(tree.get(path[-1]), dict) and not isinstance(value, dict):
        raise ConfigError(f"{'.'.join(path)} = {value!r} ({where}): allowed is a table of settings")
    tree[path[-1]] = value


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(_flatten(value, name + "."))
        else:
            flat[name] = value
    return flat


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = dict(value) if isinstance(value, Mapping) else value


def _explain(error: ValidationError, origin: Mapping[str, str]) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"] if not isinstance(part, int))
        near = (
            o for k, o in origin.items() if k == key or key.startswith(k + ".") or k.startswith(key + ".")
        )
        where = next(near, "default")
        if item["type"] == "extra_forbidden":
            parent: Any = Settings
            for part in str(key).split(".")[:-1]:
                parent = _fields(parent)[part].annotation
            allowed = ", ".join(sorted(_fields(parent)))
            lines.append(f"{key}: no such setting ({where}); allowed here: {allowed}")
        else:
            message = item["msg"].removeprefix("Value error, ")
            shown = "********" if key.endswith("password") else repr(item["input"])
            lines.append(f"{key} = {shown} ({where}): {message}")
    return "\n".join(lines)


def load(
    path: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[Settings, dict[str, str]]:
    """Build the settings.

    Args:
        path: a TOML file, or None.
        overrides: dotted key -> value, from the command line; they win over everything.
        environ: the environment; None: that of the process.

    Returns:
        The settings, and for each dotted key that is not a default where its value came from.

    Raises:
        ConfigError: a value cannot be used; the message names key, value and what is allowed.
    """
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid TOML: {error}") from error
        origin.update(dict.fromkeys(_flatten(values), f"file {path}"))
    from_env, env_origin = _from_environment(os.environ if environ is None else environ)
    _merge(values, from_env)
    origin.update(env_origin)
    for key, value in (overrides or {}).items():
        _put(values, key.split("."), value, "command line")
        origin[key] = "command line"
    try:
        return Settings.model_validate(values), origin
    except ValidationError as error:
        raise ConfigError(_explain(error, origin)) from error


def effective(settings: Settings, origin: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    """List (dotted key, value, origin) of every setting; secrets are masked."""
    rows = []
    for key, value in _flatten(settings.model_dump(mode="json")).items():
        where = origin.get(key) or next((o for k, o in origin.items() if key.startswith(k + ".")), "default")
        shown = "********" if key.endswith("password") and value else value
        rows.append((key, shown, where))
    return rows
