"""The documentation site: it is built without a warning, every link leads somewhere, nothing is from another host."""

import functools
import inspect
import json
import os
import re
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import chromium
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import ganbench
from ganbench.report import CHARTS, THEMES
from ganbench.report.selection import select

pytestmark = pytest.mark.site
ROOT = Path(__file__).resolve().parents[1]
EXTERNAL = {  # where a reader may be sent; not fetched, since tests have no network
    "https://arxiv.org/abs/2312.02741",
    "https://bencher.dev/docs/reference/bencher-metric-format/",
    "https://petsc.org/main/manualpages/Log/PetscLogGpuEnergyMeter",
    "https://distributed.dask.org/",
    "https://reframe-hpc.readthedocs.io/",
    "https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/",
    "https://pytorch.org/get-started/locally/",
    "https://squidfunk.github.io/mkdocs-material/",
}
STYLE_LOADS = re.compile(r"""@import\s+["']([^"']+)|url\(["']?([^"')]+)""")


class Page(HTMLParser):
    """What stands in a page: its anchors, where its links lead, what it loads, its text and its data."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.loads, self.words, self.data = set(), [], [], [], ""
        self._inside = {}
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        values = self._inside = dict(attrs) | {"tag": tag}
        self.anchors |= {values.get("id"), values.get("name")}
        if tag == "a":
            self.links += [values["href"]] if "href" in values else []
        else:
            self.loads += [values[name] for name in ("src", "srcset", "href", "poster") if values.get(name)]
        self.loads += style_loads(values.get("style") or "")

    def handle_data(self, data):
        if self._inside.get("tag") == "style":
            self.loads += style_loads(data)
        elif self._inside.get("type") == "application/json" and self._inside.get("id") == "data":
            self.data += data
        elif self._inside.get("tag") != "script":
            self.words.append(data)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._inside = {}


def style_loads(text):
    return [one or other for one, other in STYLE_LOADS.findall(text)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder in which the site was built, as `make docs` builds it, with nothing to warn of."""
    folder = tmp_path_factory.mktemp("documentation") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("INFO ")] == []
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def place(site, page, link):
    """Return the file that a link on a page leads to."""
    path = unquote(urlsplit(link).path)
    if not path:
        return page
    found = (site / path.lstrip("/") if path.startswith("/") else page.parent / path).resolve()
    return found / "index.html" if found.is_dir() else found


def is_external(link):
    return bool(urlsplit(link).netloc) or urlsplit(link).scheme in ("http", "https", "mailto")


def test_every_link_and_anchor_leads_somewhere(site, pages):
    links = [(page, link) for page, found in pages.items() for link in found.links if not is_external(link)]
    assert len(links) > 1000
    dead = []
    for page, link in links:
        to, anchor = place(site, page, link), unquote(urlsplit(link).fragment)
        if not to.is_file() or (anchor and to in pages and anchor not in pages[to].anchors):
            dead.append((page.name, link))
    assert dead == []


def test_links_to_other_hosts_are_these(pages):
    found = {link for page in pages.values() for link in page.links if is_external(link)}
    assert found == EXTERNAL
    assert all(urlsplit(link).scheme == "https" and "." in urlsplit(link).netloc for link in EXTERNAL)


def test_nothing_is_loaded_from_another_host(site, pages):
    loads = [(path, load) for path, page in pages.items() for load in page.loads]
    loads += [(path, load) for path in site.rglob("*.css") for load in style_loads(path.read_text(encoding="utf-8"))]
    own = [(path, load) for path, load in loads if not load.startswith("data:")]
    assert len(own) > 100
    assert [load for _, load in own if is_external(load)] == []
    assert [load for path, load in own if not place(site, path, load).is_file()] == []


def test_the_demonstration_holds_this_repositorys_results(site, pages):
    cells = json.loads(pages[site / "demo.html"].data)["cells"]
    columns = dict(zip(cells["names"], zip(cells["words"], zip(*cells["rows"], strict=True), strict=True), strict=True))

    def texts(name):
        words, numbers = columns[name]
        return {words[number] for number in numbers}

    table = ganbench.load_results(ROOT / "results")
    assert texts("machine") == set(select(table).rows["machine"])
    assert max(texts("timestamp"))[:19] == table["timestamp"].max().isoformat()[:19]
    for name in ("index.html", "gallery.html"):
        assert "demo.html" in pages[site / name].links


@pytest.mark.parametrize("kind", CHARTS)
def test_the_gallery_has_every_chart_in_both_themes(kind, site, pages):
    loads = pages[site / "gallery.html"].loads
    drawn = set()
    for theme in THEMES:
        name = f"charts/{kind}-{theme}.svg"
        assert f"{name}#only-{theme}" in loads
        assert len(list(ET.parse(site / name).iter())) > 50
        drawn.add((site / name).read_bytes())
    assert len(drawn) == len(THEMES)


def test_every_public_name_is_in_the_reference(site, pages):
    page = pages[site / "api.html"]
    for module in (ganbench, ganbench.report):
        for name in module.__all__:
            assert f"{module.__name__}.{name}" in page.anchors
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                first = inspect.getdoc(value).split("\n\n")[0].split("``")[0]
                assert " ".join(first.split()) in page.text, name


@pytest.fixture
def address(site):
    """Where a server on this machine shows the site."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_browser_shows_it_on_a_phone_in_both_themes_and_asks_no_other_host(address):
    with chromium(offline=False) as driver:
        size = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for name in ("index.html", "gallery.html", "api.html", "demo.html"):
            driver.get(address + name)
            asked = driver.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
            assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
            assert driver.execute_script("return document.documentElement.scrollWidth <= 360"), name
        for theme in THEMES:
            features = [{"name": "prefers-color-scheme", "value": theme}]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            driver.get(address + "gallery.html")
            shown = driver.execute_script(
                "return [...document.querySelectorAll('article img')].filter((one) => one.offsetParent)"
                ".map((one) => one.getAttribute('src'))"
            )
            assert shown == [f"charts/{kind}-{theme}.svg#only-{theme}" for kind in CHARTS]


@pytest.mark.parametrize("where", ["server", "folder"])
def test_its_search_finds_a_word(where, address, site):
    with chromium(offline=False) as driver:
        driver.get(address if where == "server" else (site / "index.html").as_uri())
        driver.find_element(By.CSS_SELECTOR, "input[name=query]").send_keys("denormals")
        found = WebDriverWait(driver, 30).until(lambda _: driver.find_elements(By.CSS_SELECTOR, ".md-search-result a"))
        assert any("training.html" in one.get_attribute("href") for one in found)
