"""What takes seconds to make for a page, kept in the cache folder under a name that says all that it depends on."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import msgspec

from ...results.statistics import Estimate
from ...results.store import kept_text
from ..recommendation import Candidate, outlook


def kept_outlook(candidates: Sequence[Candidate], control: Estimate | None, code: "hashlib._Hash") -> Any:
    """Return ``outlook`` as JSON has it; ``code`` is a hash of what works it out."""
    key = code.copy()
    key.update(msgspec.msgpack.encode((candidates, control)))
    text = kept_text(f"outlooks/{key.hexdigest()}.json", lambda: json.dumps(outlook(candidates, control)))
    return json.loads(text)
