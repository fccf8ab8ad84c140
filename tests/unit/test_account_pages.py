"""The settings and answers on the page about account directories are what the code takes."""

from __future__ import annotations

import json

from nbplatform_spawners.accounts.http_answers import read_account
from nbplatform_spawners.accounts.http_settings import HttpSettings, parse_http_settings
from nbplatform_spawners.accounts.ldap_settings import AccountSettings, LdapSettings, parse_ldap_settings
from nbplatform_spawners.identity import IdRange
from tests.house.pages import code_blocks

PAGE = "docs/how-to/account-directories.md"
YAML = [block.text for block in code_blocks(PAGE) if block.language == "yaml"]
LDAP = [text for text in YAML if "servers:" in text]
HTTP = [text for text in YAML if "url:" in text]


def keys(text: str) -> set[str]:
    """Return every key that stands in a settings file."""
    return {line.split(":")[0].strip() for line in text.splitlines() if ":" in line}


def test_every_settings_file_is_one() -> None:
    """LDAP's in its shortest and in its longest form, and HTTP's."""
    shortest, longest = (parse_ldap_settings(text.encode(), "directory.yaml") for text in LDAP)
    (http,) = (parse_http_settings(text.encode(), "directory.yaml") for text in HTTP)
    assert len(YAML) == len(LDAP) + len(HTTP)
    assert shortest == LdapSettings(
        shortest.servers, accounts=AccountSettings(base=shortest.accounts.base), groups=shortest.groups
    )
    assert longest.groups == shortest.groups, "the defaults that the page shows"
    plain = LdapSettings(())
    assert (longest.timeout, longest.cache, longest.connections) == (plain.timeout, plain.cache, plain.connections)
    shown = AccountSettings(
        base=longest.accounts.base,
        home_template="/home/{name}",
        locks={"nsAccountLock": "true"},
        federated=longest.accounts.federated,
    )
    assert longest.accounts == shown
    assert (http.timeout, http.cache, http.encrypted) == (HttpSettings("").timeout, HttpSettings("").cache, True)


def test_the_page_has_every_key() -> None:
    """What it does not name, nobody finds."""
    assert keys(LDAP[1]) >= {
        *("servers", "encryption", "ca_file", "bind_dn", "bind_password_file", "timeout", "cache", "connections"),
        *("accounts", "base", "filter", "name", "uid", "gid", "home", "home_template", "shell", "valid_until"),
        *("locked", "federated", "groups", "members"),
    }
    assert keys(HTTP[0]) == {"url", "encryption", "ca_file", "token_file", "timeout", "cache"}


def test_the_answers_of_a_service_are_accounts() -> None:
    """Both, whole; the linked one repeats its pair."""
    answers = [json.loads(block.text) for block in code_blocks(PAGE) if block.language == "json"]
    for answer in answers:
        account, got = read_account(answer, IdRange())
        assert account.identity.name == "alice"
        assert got.outside == got.unsafe == ()
    assert {"provider", "subject"} <= answers[1].keys()
