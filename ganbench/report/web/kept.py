"""What takes seconds to make for a page, kept in the cache folder under a name that says all that it depends on."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ...errors import StorageError
from ...results.statistics import Estimate
from ...results.store import cache_folder, replace_file
from ..recommendation import Candidate, outlook


def kept_text(name: str, make: Callable[..., str]) -> str:
    """Return the text that is kept under this name; where there is none, it is made."""
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: nobody's home is known
        return (cache_folder() / name).read_text("utf-8")
    made = make()
    with contextlib.suppress(OSError, RuntimeError, StorageError):
        place = cache_folder() / name
        place.parent.mkdir(parents=True, exist_ok=True)
        replace_file(place, lambda file: file.write(made.encode()))
    return made


def kept_outlook(candidates: Sequence[Candidate], control: Estimate | None, code: "hashlib._Hash") -> Any:
    """Return ``outlook`` as JSON has it; ``code`` is a hash of what works it out."""
    key = code.copy()
    key.update(msgspec.msgpack.encode((candidates, control)))
    text = kept_text(f"outlooks/{key.hexdigest()}.json", lambda: json.dumps(outlook(candidates, control)))
    return json.loads(text)
