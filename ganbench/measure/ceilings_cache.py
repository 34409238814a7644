"""Ceilings are stored for later runs: they belong to the machine and the library, and measuring them takes seconds.

There is one small file for each library, in the user's cache folder. If the file cannot be read or written, the
ceilings are measured again.
"""

import contextlib
import hashlib
from pathlib import Path

import msgspec

from .. import registry
from ..errors import StorageError
from ..machine import environment
from ..registry import Target
from ..results.records import CeilingRecord
from ..results.store import cache_folder, replace_file
from .engine import VERSION
from .plan import Plan


def recall_ceilings(plan: Plan, target: Target | None) -> CeilingRecord | None:
    """Return the ceilings that an earlier run found under the same conditions; None if there are none.

    ``target`` None means the processor itself.
    """
    with contextlib.suppress(OSError, RuntimeError, msgspec.MsgspecError):  # RuntimeError: no home folder
        return msgspec.json.decode(_path(plan, target).read_bytes(), type=CeilingRecord)
    return None


def keep_ceilings(plan: Plan, target: Target | None, record: CeilingRecord) -> None:
    """Keep ``record`` for later runs under the same conditions."""
    with contextlib.suppress(OSError, RuntimeError, StorageError):
        path = _path(plan, target)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda file: file.write(msgspec.json.encode(record)))


def _path(plan: Plan, target: Target | None) -> Path:
    facts = environment.metadata()
    conditions = [facts[name] for name in ("cpu", "logical_cpus", "gpus", "driver", "os", "python", "tuning")]
    library = [] if target is None else [target.backend, target.device, registry.version(target.backend)]
    key = msgspec.json.encode([VERSION, conditions, list(plan.cpus), plan.dtype, plan.precision, library])
    return cache_folder() / f"ceilings-{hashlib.sha256(key).hexdigest()[:16]}.json"
