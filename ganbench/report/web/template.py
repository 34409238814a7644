"""A page of HTML from its template in this folder; every text that is put into one is escaped there."""

from importlib import resources
from typing import Any


def text_of(name: str) -> str:
    """Return a file of this folder."""
    return (resources.files(__package__) / name).read_text("utf-8")


def filled(name: str, **shown: Any) -> str:
    """Return the page that a template makes of what is ``shown``."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=jinja2.FunctionLoader(text_of),
    )  # fmt: skip
    return environment.get_template(name).render(style=text_of("page.css"), **shown)
