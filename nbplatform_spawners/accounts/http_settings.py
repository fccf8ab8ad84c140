"""The settings file of an HTTP account service as a value."""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

from ..yaml_nodes import YamlReader
from .settings_file import Section, one_of, parse_cache, parse_file, parse_timeout, read_settings

_URL = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]+)*/?")
_KEYS = ("url", "encryption", "ca_file", "token_file", "timeout", "cache")


@dataclass(frozen=True)
class HttpSettings:
    """How an HTTP account service is asked.

    Attributes:
        url: below which its two routes are; without a slash at the end.
        encrypted: by TLS; False only where the file says ``encryption: none``.
        ca_file: who may have signed its certificate; None: the public authorities that ``certifi`` lists.
        token_file: holds the token that is sent to it; None for none.
        timeout: seconds for the connection, and for the whole answer.
        cache: seconds for which an answer is kept; 0 for not at all.
    """

    url: str
    encrypted: bool = True
    ca_file: str | None = None
    token_file: str | None = None
    timeout: int = 3
    cache: int = 300


def parse_http_settings(content: bytes, file: str) -> HttpSettings:
    """Return what the settings file of an HTTP account service says.

    Args:
        content: the file's bytes.
        file: its name, for mistakes.

    Raises:
        BadFile: with every mistake.
    """
    return read_settings(content, file, _read)


def _read(reader: YamlReader, root: yaml.Node) -> HttpSettings:
    top = Section(reader, root, "the settings", _KEYS)
    plain = HttpSettings("")
    settings = HttpSettings(
        url=top.needed("url", _parse_url, ""),
        encrypted=top.value("encryption", one_of("tls", "none"), "tls") == "tls",
        ca_file=top.value("ca_file", parse_file, None),
        token_file=top.value("token_file", parse_file, None),
        timeout=top.value("timeout", parse_timeout, plain.timeout),
        cache=top.value("cache", parse_cache, plain.cache),
    )
    if settings.url and settings.encrypted != settings.url.startswith("https:"):
        top.wrong(
            "url", "https:// is expected; http:// only together with 'encryption: none', which never has https://"
        )
    return settings


def _parse_url(text: str) -> str:
    if not _URL.fullmatch(text):
        raise ValueError("https://HOST/PATH is expected, without user, query or fragment")
    return text.rstrip("/")
