"""A page in a real Chromium without a network, and what there is to ask of it."""

import base64
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
PROGRAMS = ("chromium", "chromedriver")


@contextmanager
def chromium(offline: bool = True):
    """Yield a driver, without a network unless asked; skips the test without Chromium, and says how to get it."""
    found = [shutil.which(name) for name in PROGRAMS]
    if None in found:
        pytest.skip("needs Chromium: 'apt install chromium chromium-driver' brings it (Debian)")
    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    for switch in SWITCHES:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(found[1]))
    try:
        driver.execute_cdp_cmd("Network.enable", {})
        conditions = {"offline": offline, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
        yield driver
    finally:
        driver.quit()


class Shown:
    """An open page. After each step it has been drawn, and nothing stands in the console."""

    def __init__(self, driver, path: Path, address: str = "", width: int = 1200, dark: bool = False, media: str = ""):
        self.driver = driver
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme], "media": media})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get("about:blank")
        driver.get(path.resolve().as_uri() + address)
        self.wait()

    def wait(self):
        body = self.driver.find_element(By.TAG_NAME, "body")
        WebDriverWait(self.driver, 60).until(lambda _: body.get_attribute("data-ready") == "yes")
        said = [line["message"] for line in self.driver.get_log("browser")]
        assert not said, said

    def until(self, so):
        """Wait until something is so, and all is drawn."""
        WebDriverWait(self.driver, 60).until(lambda _: so())
        self.wait()

    def choose(self, element: str, value: str):
        Select(self.driver.find_element(By.ID, element)).select_by_value(value)
        self.wait()

    def run(self, script: str, *arguments):
        """Return what JavaScript returns."""
        return self.driver.execute_script(script, *arguments)

    def text(self, element: str) -> str:
        return self.driver.find_element(By.ID, element).text

    def cells(self) -> dict[tuple[str, str], dict[str, str]]:
        """Return what is known of each cell of the matrix that has a number."""
        found = self.run(
            "return [...document.querySelectorAll('#matrix td[data-case]')].map((cell) => ({...cell.dataset}))"
        )
        return {(cell["case"], cell["target"]): cell for cell in found}

    def picture(self, path: Path, height: int):
        """Write the top of the page to a PNG."""
        clip = {"x": 0, "y": 0, "width": self.run("return innerWidth"), "height": height, "scale": 1}
        found = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(found["data"]))
