"""The command line; what it is made of may be missing where ganbench was installed with ``--no-deps``."""

import sys


def main() -> None:
    """Run the command line; ends with exit code 2 where this Python lacks a package that it needs."""
    try:
        from .cli import main as run
    except KeyboardInterrupt:  # before anything began
        sys.exit(130)
    except ModuleNotFoundError as error:
        missing = " ".join(_missing() or [str(error.name)])
        install = f"{sys.executable} -m pip install {missing}"
        print(f"ganbench: this Python lacks what ganbench needs; run: {install}", file=sys.stderr)
        sys.exit(2)
    run()


def _missing() -> list[str]:
    import importlib.util
    import re
    from importlib.metadata import PackageNotFoundError, requires

    try:
        needed = [one for one in requires("ganbench") or () if "extra" not in one]
    except PackageNotFoundError:  # it is run from its source, and was never installed
        return []
    names = [found[0] for one in needed if (found := re.match(r"[\w-]+", one))]
    return [name for name in names if importlib.util.find_spec(name) is None]


if __name__ == "__main__":
    main()
