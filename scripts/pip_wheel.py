"""Fetch pip's own wheel from the package index, for a Python without pip and ensurepip.  Standard library alone."""

from __future__ import annotations

import base64
import configparser
import hashlib
import html.parser
import json
import os
import re
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from steps import StepError

PUBLIC_INDEX = "https://pypi.org/simple"
JSON_PAGE = "application/vnd.pypi.simple.v1+json"
TIMEOUT = 60
_WHEEL = re.compile(r"pip-(\d+(?:\.\d+)*)-(?:py2\.py3|py3)-none-any\.whl")
_NEWER_THAN = re.compile(r">=\s*(\d+)\.(\d+)")


@dataclass(frozen=True)
class Wheel:
    """One wheel of an index page: its version as numbers, address and SHA-256."""

    version: tuple[int, ...]
    name: str
    url: str
    sha256: str


def fetch_pip(folder: Path) -> Path:
    """Download the newest pip wheel that this Python can run into ``folder``; returns its path.

    Raises:
        StepError: the index cannot be reached, has no suitable wheel, or the file's checksum is not the index's.
    """
    settings = pip_settings()
    index = settings.get("index-url", PUBLIC_INDEX).rstrip("/")
    page, kind = fetch(f"{index}/pip/", settings.get("cert"), accept=f"{JSON_PAGE}, text/html;q=0.1")
    wheels = wheels_of_json(page) if "json" in kind else wheels_of_html(page, f"{index}/pip/")
    if not wheels:
        raise StepError(f"the package index {without_password(index)} has no pip wheel for this Python")
    wheel = max(wheels, key=lambda found: found.version)
    content, _ = fetch(with_login_of(index, wheel.url), settings.get("cert"), accept="*/*")
    if hashlib.sha256(content).hexdigest() != wheel.sha256:
        raise StepError(f"{wheel.name} from {without_password(index)} does not have the checksum that the index names")
    path = folder / wheel.name
    path.write_bytes(content)
    return path


def pip_settings() -> dict[str, str]:
    """Return ``index-url`` and ``cert`` as pip would take them: the environment before pip's configuration files."""
    home = Path.home()
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", config_home / "pip" / "pip.conf"]
    if named := os.environ.get("PIP_CONFIG_FILE"):
        files = [] if named == os.devnull else [*files, Path(named)]
    parser = configparser.RawConfigParser()
    settings: dict[str, str] = {}
    try:
        parser.read(files)
    except configparser.Error as error:
        raise StepError(f"pip's configuration cannot be read: {error}") from None
    for key in ("index-url", "cert"):
        for section in ("global", "install"):
            if parser.has_option(section, key):
                settings[key] = parser.get(section, key)
        if value := os.environ.get("PIP_" + key.upper().replace("-", "_")):
            settings[key] = value
    return settings


def fetch(url: str, cert: str | None, accept: str) -> tuple[bytes, str]:
    """Return the body and the content type of an address; name and password in it are sent as basic authentication."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise StepError(f"the package index must be an http or https address, got {without_password(url)}")
    headers = {"Accept": accept, "User-Agent": "nbplatform-setup"}
    if parts.username:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    try:
        context = ssl.create_default_context(cafile=cert)
        request = urllib.request.Request(url, headers=headers)  # noqa: S310  the scheme was checked above
        with urllib.request.urlopen(request, timeout=TIMEOUT, context=context) as answer:  # noqa: S310
            return answer.read(), answer.headers.get_content_type()
    except OSError as error:  # urllib's errors and the time-out are OSErrors too
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise StepError(
            f"the package index cannot be reached ({without_password(url)}: {reason}): check the network,"
            " or name a mirror that this machine reaches with PIP_INDEX_URL or pip.conf"
        ) from None


def with_login_of(index: str, url: str) -> str:
    """Return the address of a file with the name and password of the index, when the same host serves both."""
    login, at, host = urllib.parse.urlsplit(index).netloc.rpartition("@")
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=f"{login}{at}{host}").geturl() if parts.netloc == host else url


def without_password(url: str) -> str:
    """Return the address without the name and password that it may hold, and without its query."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def wheels_of_json(page: bytes) -> list[Wheel]:
    """Return the suitable wheels of an index page in JSON (PEP 691)."""
    found = []
    for file in json.loads(page)["files"]:
        sha256 = file["hashes"].get("sha256")
        if sha256 and not file.get("yanked") and runs_here(file.get("requires-python")):
            found += as_wheel(file["filename"], file["url"], sha256)
    return found


def wheels_of_html(page: bytes, address: str) -> list[Wheel]:
    """Return the suitable wheels of an index page in HTML (PEP 503); ``address`` is the page's own."""
    links = _Links()
    links.feed(page.decode("utf-8", "replace"))
    found = []
    for attributes in links.found:
        url, _, fragment = urllib.parse.urljoin(address, attributes.get("href") or "").partition("#")
        name = urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2])
        suitable = "data-yanked" not in attributes and runs_here(attributes.get("data-requires-python"))
        if suitable and fragment.startswith("sha256="):
            found += as_wheel(name, url, fragment.removeprefix("sha256="))
    return found


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append(dict(attrs))


def as_wheel(name: str, url: str, sha256: str) -> list[Wheel]:
    """Return the file as a wheel, or nothing when it is no released pip wheel."""
    match = _WHEEL.fullmatch(name)
    return [Wheel(tuple(map(int, match[1].split("."))), name, url, sha256)] if match else []


def runs_here(requires_python: str | None) -> bool:
    """Tell whether this Python is new enough for a ``requires-python`` value; pip has only ever used lower bounds."""
    match = _NEWER_THAN.search(requires_python or "")
    return match is None or sys.version_info[:2] >= (int(match[1]), int(match[2]))
