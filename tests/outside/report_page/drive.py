"""Opens a report in headless Chromium and runs every check of checks.py.

    drive.py REPORT FOLDER

Prints one JSON object: for each check null, or what is wrong. Screenshots and the printed page go into FOLDER. Ends with 77, and says
why, where Chromium, its driver or Selenium is not installed.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

MISSING = 77
SECONDS = 240

# A browser that talks to nobody: whatever is not a file has no address.
FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-extensions --disable-dev-shm-usage --hide-scrollbars --mute-audio
--force-device-scale-factor=1 --window-size=1280,900 --lang=en --host-resolver-rules=MAP * ~NOTFOUND""".replace("MAP * ~", "MAP_*_~").split()


def missing(reason):
    print(reason, file=sys.stderr)
    sys.exit(MISSING)


try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
except ImportError:
    missing(f"{sys.executable} has no Selenium: pip install selenium")


def program(variable, *names):
    """The program that the environment names, or the first of these that there is."""
    given = os.environ.get(variable)
    return given or next((path for path in map(shutil.which, names) if path), None)


def expect(found, wanted):
    assert found == wanted, f"{found!r}, not {wanted!r}"


class Browser:
    """Chromium with the report, as the checks see it."""

    def __init__(self, driver, address, folder):
        self.driver, self.address, self.folder = driver, address, folder
        self.logged, self.requests = [], []

    def open(self):
        """The report afresh, at desktop width, in the light."""
        self.collect()
        self.command("Emulation.setScriptExecutionDisabled", value=False)
        self.command("Emulation.setEmulatedMedia", media="", features=[])
        self.size(1280, 900)
        self.visit(self.address)
        self.run("try { localStorage.clear() } catch {}")
        self.visit(self.address)

    def visit(self, address):
        """An address, from an empty page. A driver on a busy machine may come back before the page is there."""
        self.driver.get("about:blank")
        self.driver.get(address)
        for _ in range(200):
            if self.run("return document.readyState === 'complete' && location.protocol !== 'about:'"):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{address} is not there after 10 s")

    def command(self, name, **parameters):
        return self.driver.execute_cdp_cmd(name, parameters)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def size(self, width, height, mobile=False):
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if mobile else 1, mobile=mobile)

    def scheme(self, name):
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def all(self, selector, within=None):
        return (within or self.driver).find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector, within=None):
        return (within or self.driver).find_element(By.CSS_SELECTOR, selector)

    def text(self, selector, within=None):
        return self.one(selector, within).get_attribute("textContent").strip()

    def explorer(self, number):
        root = self.all(".explorer")[number]
        self.run("arguments[0].scrollIntoView({block: 'center'})", root)
        return root

    def settle(self):
        """Lets pending layout observers and frames run."""
        self.driver.execute_async_script("const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 30)))")

    def tree(self):
        """Chromium's accessibility tree: nodes that are not ignored, as (role, name, properties)."""
        nodes = []
        for node in self.command("Accessibility.getFullAXTree")["nodes"]:
            if not node.get("ignored"):
                value = lambda key: node.get(key, {}).get("value", "")
                properties = {p["name"]: p["value"].get("value") for p in node.get("properties", [])}
                nodes.append((value("role"), value("name"), properties))
        return nodes

    def collect(self):
        """What was logged and asked for since the last time."""
        self.logged += [entry for entry in self.driver.get_log("browser")]
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])


def start(folder, profile):
    chromium = program("NORMSCAPE_CHROMIUM", "chromium", "chromium-browser", "google-chrome")
    chromedriver = program("NORMSCAPE_CHROMEDRIVER", "chromedriver")
    if not chromium or not chromedriver:
        missing("there is no Chromium with its driver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in FLAGS:
        options.add_argument(flag.replace("MAP_*_~", "MAP * ~"))
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver, log_output=str(folder / "chromedriver.log")))
    driver.set_script_timeout(20)
    driver.set_page_load_timeout(60)
    # The browser begins with a page of its own: what that asks for is not the report's.
    driver.get("about:blank")
    driver.get_log("performance")
    return driver


def late(*_):
    raise TimeoutError(f"not done after {SECONDS} s")


def main():
    import checks

    report, folder = (Path(argument).resolve() for argument in sys.argv[1:3])
    results = {}
    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        driver = start(folder, profile)
        try:
            browser = Browser(driver, report.as_uri(), folder)
            for check in checks.ALL:
                began = time.monotonic()
                try:
                    browser.open()
                    check(browser)
                    results[check.__name__] = None
                except TimeoutError:
                    raise
                except Exception:  # A check that fails must not end the others.
                    results[check.__name__] = traceback.format_exc(limit=-2)
                print(f"{check.__name__}: {time.monotonic() - began:.1f} s", file=sys.stderr)
        finally:
            signal.alarm(0)
            driver.quit()
    print(json.dumps(results))


if __name__ == "__main__":
    # checks.py imports this file by its name.
    sys.modules["drive"] = sys.modules["__main__"]
    main()
