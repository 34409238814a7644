"""``ganbench compare --vary``: the run as it is asked for, and one for each ingredient that is changed."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..errors import UsageError, unknown
from ..registry import split_list
from ..settings import SETTINGS
from .plan import Plan, make_plan

BASE = "base"  # the name of the run as it was asked for
ROUNDS = 10  # where nothing else is said: one of ten rounds has intervals half as wide as five
LIMITS = ("rounds", "precision_goal", "budget_s")
EXAMPLE = "such as loss=hinge batch-norm=off"


def plans(said: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Plan]:
    """Return the plan of the base and of each variant, by name, such as ``loss=hinge``.

    Raises ``UsageError`` for what is not a variant, or is the base.
    """
    asked = dict(settings)
    if not any(asked.get(name) for name in LIMITS):
        asked["rounds"] = ROUNDS
    made = {BASE: make_plan(**asked)}
    known = {one.key: one for one in SETTINGS.values() if one.varied}
    for text in said:
        key, equals, values = (part.strip() for part in text.partition("="))
        if not (equals and values):
            raise UsageError(f"variant '{text}' is not valid: INGREDIENT=VALUES, {EXAMPLE}")
        if (key := key.replace("_", "-")) not in known:
            raise unknown("ingredient", key, known)
        setting = known[key]
        for value in split_list(values):
            try:
                changed = {setting.name: msgspec.convert(value, setting.hint, strict=False)}
            except msgspec.ValidationError:
                raise UsageError(f"variant '{key}={value}' is not valid: it takes a number ({setting.help})") from None
            made[f"{key}={value}"] = make_plan(**{**asked, **changed})
            if made[f"{key}={value}"] == made[BASE]:
                raise UsageError(f"variant '{key}={value}' is not valid: the base has this value already; leave it out")
    return made
