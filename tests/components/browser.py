"""A headless Chromium that selenium drives, and that ends with its owner."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import MissingComponent
from .keeper import Keeper, KeeperError, Kept, keeper
from .ports import free_ports, listens

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

START_LIMIT = 30.0  # seconds until chromedriver must listen

FLAGS = [
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",  # /dev/shm is small in containers
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--window-size=1280,1024",
]


@contextmanager
def browser() -> Iterator[WebDriver]:
    """A Chromium with an empty profile; it ends, and its profile goes, when the block or the owner ends.

    Raises:
        MissingComponent: Chromium, its driver or selenium is not there; the message says which package has it.
    """
    chromium = program("chromium", "chromium-browser", "google-chrome")
    driver_program = program("chromedriver")
    try:
        from selenium import webdriver
        from selenium.webdriver.common.proxy import Proxy, ProxyType
        from selenium.webdriver.remote.client_config import ClientConfig
    except ImportError as problem:
        raise MissingComponent("selenium is not installed: pip install selenium") from problem
    with keeper("browser") as one:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in FLAGS if os.getuid() else [*FLAGS, "--no-sandbox"]:  # Chromium refuses root its sandbox
            options.add_argument(flag)
        options.add_argument(f"--user-data-dir={one.folder / 'profile'}")
        address = running_driver(one, driver_program)
        # The machine's proxy settings are not for a loopback address.
        config = ClientConfig(remote_server_addr=address, proxy=Proxy({"proxyType": ProxyType.DIRECT}))
        driver = webdriver.Remote(address, options=options, client_config=config)
        try:
            yield driver
        finally:
            driver.quit()


def running_driver(one: Keeper, driver_program: str) -> str:
    """Start chromedriver; its address."""
    port = free_ports().public
    # Chromium leaves reports of crashes, caches and temporary folders behind.
    places = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TMPDIR"), str(one.folder))
    wait_for_port(one.start([driver_program, f"--port={port}"], env={**os.environ, **places}), port)
    return f"http://127.0.0.1:{port}"


def screenshot(driver: WebDriver, path: Path) -> Path:
    """Save what the browser shows as a PNG file, in a folder that is made if need be, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(driver.get_screenshot_as_png())
    return path


def program(*names: str) -> str:
    """Path of the first of some programs that is there.

    Raises:
        MissingComponent: none is.
    """
    for name in names:
        if found := shutil.which(name):
            return found
    package = {"chromedriver": "chromium-driver"}.get(names[0], names[0])
    raise MissingComponent(f"there is no {names[0]} on this machine: apt install {package}")


def wait_for_port(process: Kept, port: int) -> None:
    """Wait until a process listens on a port.

    Raises:
        KeeperError: it ended, or does not listen in time.
    """
    limit = time.monotonic() + START_LIMIT
    while not listens(port):
        if not process.alive() or time.monotonic() > limit:
            raise KeeperError(f"{process.log.name} does not listen:\n{process.log_text()[-2000:]}")
        time.sleep(0.02)
