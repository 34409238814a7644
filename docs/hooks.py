"""What the site has beyond docs/: pages of the root, files that pages link to, the charts and the demonstration.

mkdocs calls the functions named ``on_...`` while it builds the site. Nothing is written into docs/.
"""

import contextlib
import io
import posixpath
import re
import shlex
import tempfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import ganbench
from ganbench.cli import cli
from ganbench.report import THEMES, web
from ganbench.settings import SETTINGS, Setting

ROOT = Path(__file__).resolve().parents[1]
# Where these stand in the site. Of the folder of results the site shows the page that ganbench makes of it.
PLACES = {
    "README.md": "readme.md",
    "README.zh-CN.md": "readme.zh-CN.md",
    "CONTRIBUTING.md": "contributing.md",
    "results": "demo.html",
}
LINK = re.compile(r"(?<=\]\()[^)#\s]+")
# A browser chooses by the system's theme, but a reader of the site has a switch; Material hides the other one.
PICTURE = re.compile(r'<picture>\n<source .* srcset="(.+)">\n<img alt="(.+)" src="(.+)">\n</picture>')
SETTINGS_HERE = "<!-- The site has a table of all settings here. -->"
DIFFERING = {"refused": "they are not compared", "told": "it is said", "": ""}
DRAWS = re.compile(r"^```console\n\$ ganbench (report .*--picture (\w+)\.svg.*)\n```$", re.M)


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages of the root and the demonstration."""
    for name, place in PLACES.items():
        if name.endswith(".md"):
            files.append(File.generated(config, place, abs_src_path=str(ROOT / name)))
    results = ROOT / "results"
    page = web.page(results, ganbench.load_results(results))
    files.append(File.generated(config, PLACES["results"], content=page))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Draw what the gallery says, and lead links to where things stand in the site."""

    def drawn(found: re.Match[str]) -> str:
        command, name = found.groups()
        shown = ""
        for theme in THEMES:
            place = f"charts/{name}-{theme}.svg"
            files.append(File.generated(config, place, content=chart(command, theme)))
            shown += f"![The chart {name} of this repository's results]({place}#only-{theme})"
        return f"{found[0]}\n\n{shown}"

    def led(found: re.Match[str]) -> str:
        path = (Path(page.file.abs_src_path or "").parent / found[0]).resolve()
        if not path.exists():  # made above, or on another host, or a mistake, of which mkdocs warns
            return found[0]
        name = path.relative_to(ROOT).as_posix()
        place = PLACES.get(name, name.removeprefix("docs/"))
        if files.get_file_from_path(place) is None:
            files.append(File.generated(config, place, abs_src_path=str(path)))
        return posixpath.relpath(place, posixpath.dirname(page.file.src_uri))

    markdown = markdown.replace(SETTINGS_HERE, settings_table())
    if page.file.src_uri == "gallery.md":
        markdown = DRAWS.sub(drawn, markdown)
    return LINK.sub(led, PICTURE.sub(r"![\2](\3#only-light)![\2](\1#only-dark)", markdown))


def settings_table() -> str:
    """Return a table of every setting, made from the declarations."""
    lines = ["| option | in Python | in a fleet's plan | default | meaning | if runs differ |", "|---" * 6 + "|"]
    lines += [f"| {' | '.join(_cells(setting))} |" for setting in SETTINGS.values()]
    return "\n".join(lines)


def _cells(setting: Setting) -> tuple[str, ...]:
    option = f"--{setting.key} {setting.metavar}".strip().replace("|", " or ")
    default = setting.usual or ("" if setting.default is None else f"{setting.default}" if setting.metavar else "no")
    fleet = f"`{setting.key.replace('-', '_')}`" if setting.fleet else ""
    return (
        f"`{option}`",
        f"`{setting.name}`",
        fleet,
        default,
        setting.help.replace("[", "\\["),
        DIFFERING[setting.differing],
    )


def chart(command: str, theme: str) -> bytes:
    """Return what a command that names a ``--picture`` draws, as SVG."""
    arguments = shlex.split(command)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(ROOT):
        path = Path(folder) / "chart.svg"
        arguments[arguments.index("--picture") + 1] = str(path)
        with contextlib.redirect_stderr(io.StringIO()):  # it says where the picture is
            cli.main([*arguments, "--theme", theme], standalone_mode=False)
        return path.read_bytes()
