"""Other people's text made safe to show: what would not be seen, or would move what is seen, is written out."""

import re

# What would end a line, hide text, turn its direction, or give a terminal an order.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def visible(text: str, keep: str = "") -> str:
    """Return text with every character written out that would not be seen, as in ``\\x1b``; those in ``keep`` stay."""
    return UNSEEN.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


def visible_lines(text: str) -> str:
    """Return text of several lines made visible; its line ends and tabs stay."""
    return visible(text, keep="\n\t")
