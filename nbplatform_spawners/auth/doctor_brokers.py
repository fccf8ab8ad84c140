"""What is right and wrong with an identity provider of a realm: whether its subject names one person, for ever.

Pure: what Keycloak's admin API answered comes in, findings go out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..names import bounded
from .doctor_report import Finding

_LINKING = {
    "idp-auto-link": "links whoever has an existing name or address to that account, without a question",
    "idp-email-verification": "links whoever reads the mail of an address to the account that has it",
}
"""Steps of a first login after which one account of Keycloak's may be two people's; the hub still goes by the pair."""
_CHANGING = ("transient", "emailaddress", "unspecified")
"""Ends of the NameID formats that do not name one person for ever."""


def judge_broker(
    broker: Mapping[str, Any], mappers: Sequence[Mapping[str, Any]], steps: Sequence[Mapping[str, Any]]
) -> list[Finding]:
    """Return the findings about one identity provider.

    Args:
        broker: an IdentityProviderRepresentation.
        mappers: its mappers.
        steps: the executions of its first login flow.
    """
    alias = str(broker.get("alias"))
    found = [*_subject(broker, mappers, alias), *_links(steps, alias)]
    if broker.get("trustEmail"):
        said = f"{bounded(alias)}: its e-mail addresses are trusted, and may be somebody else's here"
        found.append(Finding("warning", "brokers", said, f"Identity providers > {alias}: switch off 'Trust Email'"))
    return found or [Finding("ok", "brokers", f"{bounded(alias)}: its subject names one person")]


def _subject(broker: Mapping[str, Any], mappers: Sequence[Mapping[str, Any]], alias: str) -> Iterator[Finding]:
    """Yield what is wrong with what the claim of the subject will hold: Keycloak's ``identity_provider_identity``."""
    if any(mapper.get("config", {}).get("target") == "BROKER_USERNAME" for mapper in mappers):
        return  # somebody has thought about it
    where = f"Identity providers > {alias}"
    if broker.get("providerId") != "saml":
        said = f"{bounded(alias)}: its subject is the user name at the other end, which can be given to somebody else"
        todo = (
            f"{where} > Mappers: add a 'Username Template Importer' with the target BROKER_USERNAME and ${{CLAIM.sub}}"
        )
        yield Finding("FAILED", "brokers", said, todo)
        return
    config = broker.get("config", {})
    format_of = str(config.get("nameIDPolicyFormat", ""))
    if config.get("principalType", "SUBJECT") == "SUBJECT" and format_of.lower().endswith(_CHANGING):
        said = f"{bounded(alias)}: a NameID of the format {bounded(format_of)} does not name one person for ever"
        todo = (
            f"{where}: set 'NameID policy format' to Persistent, or the principal to an attribute such as pairwise-id"
        )
        yield Finding("FAILED", "brokers", said, todo)


def _links(steps: Sequence[Mapping[str, Any]], alias: str) -> Iterator[Finding]:
    for step in steps:
        what = _LINKING.get(str(step.get("providerId")))
        if what and step.get("requirement") != "DISABLED":
            said = f"{bounded(alias)}: its first login {what}"
            todo = (
                f"Identity providers > {alias} > First login flow override: the flow of hub_config/keycloak/realm.json"
            )
            yield Finding("warning", "brokers", said, todo)
