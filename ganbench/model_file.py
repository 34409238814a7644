"""A model as a TOML file: read, and written; and how every file of TOML is read."""

import json
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

from .errors import GanbenchError, SpecError, as_utf8
from .gan import GANSpec
from .layers import tables

ORDER = ("kind", "out", "kernel", "stride", "padding", "shape", "activation", "batch_norm", "bias")  # in a table


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds, with or without a byte order mark; raises ``OSError`` and ``ValueError``."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 (byte {error.start + 1}): save it as UTF-8") from error
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error


def read_spec(path: Path) -> GANSpec:
    """Return the model described by a TOML file; raises ``SpecError`` naming file and fault."""
    try:
        return msgspec.convert({"name": as_utf8(path.stem), **read_toml(path)}, GANSpec)
    except OSError as error:
        raise SpecError(f"cannot read model {path}: {error.strerror}") from error
    except GanbenchError as error:  # msgspec wraps what __post_init__ raises only if it is a ValueError
        raise SpecError(f"model {path}: {error}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise SpecError(
            f"model {path} is not valid: {tables.explained(error)} (fields: {', '.join(GANSpec.__struct_fields__)})"
        ) from error


def as_toml(spec: GANSpec, names: Collection[str] = GANSpec.__struct_fields__) -> str:
    """Return the fields of a model that are named, as ``read_spec`` reads them."""
    return "".join(f"{name} = {_value(getattr(spec, name))}\n" for name in names)


def _value(value: Any) -> str:
    """Return a value; numbers, texts and lists of them are written alike in JSON and TOML. A table has its own line."""
    if isinstance(value, tuple) and tables.tables(value):
        return "\n".join(["[", *(f"  {_value(entry)}," for entry in value), "]"])
    if not isinstance(value, tables.Table):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # which TOML does not have as it is
    defaults = {field.name: field.default for field in msgspec.structs.fields(value)}
    said = {name: one for name, one in msgspec.to_builtins(value).items() if one != defaults.get(name)}
    return f"{{ {', '.join(f'{name} = {json.dumps(said[name])}' for name in ORDER if name in said)} }}"
