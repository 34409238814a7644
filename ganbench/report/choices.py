"""What may be asked for by name: formats, charts and themes."""

RUN_FORMATS = ("table", "markdown", "csv", "json")  # in which a run, a sweep and a difference can be written
EXCHANGE_FORMATS = ("bmf", "github-action-benchmark", "mermaid")  # of other services: a run alone
PIVOT_FORMATS = ("table", "markdown", "csv", "latex", "json")
ENDINGS = {  # of the name of a file: in which format it is written
    ".txt": "table", ".md": "markdown", ".csv": "csv", ".tex": "latex", ".parquet": "parquet",
    **{f".{form}.json": form for form in EXCHANGE_FORMATS[:2]}, ".json": "json", ".mmd": "mermaid",
}  # fmt: skip
CHARTS = ("ratios", "pays", "roofline", "scaling", "history", "memory", "training")
THEMES = ("light", "dark")


def format_of(name: str) -> str:
    """Return the format that the ending of a file's name says; '' where it says none."""
    return next((form for ending, form in ENDINGS.items() if name.lower().endswith(ending)), "")
