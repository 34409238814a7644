"""Pictures of the page of results, to be looked at: wide, on a phone, dark and printed.

``python docs/screenshots.py [PAGE [FOLDER]]``: without a page it is made of this repository's results; into build/.
"""

import sys
from pathlib import Path

import ganbench
from ganbench.report import web

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from browser import Shown, chromium  # noqa: E402

LOOKS = {"wide": (1400, False, ""), "phone": (390, False, ""), "dark": (1400, True, ""), "print": (718, False, "print")}
MOST = 12_000  # pixels of height that Chromium puts into one picture


def main(page: str = "", folder: str = str(ROOT / "build" / "screenshots")) -> None:
    """Write a PNG of each look."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(page or f"{folder}/page.html")
    if not page:
        web.write(ROOT / "results", ganbench.load_results(ROOT / "results"), path)
    with chromium() as driver:
        for name, (width, dark, media) in LOOKS.items():
            shown = Shown(driver, path, width=width, dark=dark, media=media)
            shown.picture(Path(folder) / f"{name}.png", min(MOST, shown.run("return document.body.scrollHeight")))
            print(Path(folder) / f"{name}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
