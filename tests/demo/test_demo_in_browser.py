"""The demo as a person sees it: in a browser, from the login form to a cell that ran."""

from __future__ import annotations

import os

from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from nbplatform_spawners.hosts.local_machine import probe_machine
from tests.components.browser import browser
from tests.components.need import need

from .test_demo import running_demo, wait_until

CELLS = 9
"""Cells of the welcome notebook."""


def text_of(driver: WebDriver) -> str:
    """What the page shows."""
    return str(driver.execute_script("return document.body.innerText"))


def test_person_logs_in_sees_why_and_runs_a_cell() -> None:
    """Login form, spawn page with what is allowed and why, JupyterLab, and the welcome notebook run to its end."""
    with need(running_demo()) as demo, need(browser()) as driver:
        driver.get(demo.url)
        driver.find_element(By.NAME, "username").send_keys("alice")
        driver.find_element(By.NAME, "password").send_keys(demo.password("alice"), Keys.ENTER)
        wait_until(lambda: "/hub/spawn" in driver.current_url, "the spawn page")
        wait_until(lambda: "One GPU" in text_of(driver), "the profiles")
        for shown in ("/sps/atlas", "10-profiles.yaml", "K80"):
            assert shown in text_of(driver)
        driver.find_element(By.CSS_SELECTOR, "form [type=submit]").submit()
        wait_until(lambda: "/user/alice/lab" in driver.current_url, "JupyterLab")
        driver.get(f"{demo.url}/user/alice/lab/tree/welcome.ipynb")
        wait_until(lambda: "Welcome, alice" in text_of(driver), "the notebook")
        wait_until(lambda: "Idle" in text_of(driver), "its kernel")
        for _ in range(CELLS):
            ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
        uid = f"uid={os.getuid()}" if probe_machine().mode == "plain" else "uid=62001(alice)"
        wait_until(lambda: uid in text_of(driver), "the output of id")
        assert "official Jupyter news" not in text_of(driver)
