"""``nbplatform doctor keycloak``: examines a realm as a person would before a release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jupyterhub.crypto import CryptKeeper, EncryptionUnavailable
from traitlets import TraitError

from ..errors import BadFile, DirectoryUnavailable
from ..names import bounded
from ..oidc.claims import Claims, read_claims
from ..oidc.refusals import LoginProblem
from .doctor_admin import Admin, AdminRefused, Credentials, place_of
from .doctor_brokers import judge_broker
from .doctor_client import judge_client, judge_profile, judge_realm
from .doctor_mappers import attributes_of, judge_mappers
from .doctor_person import judge_directory, judge_guests, judge_person, only_look
from .doctor_public import PublicChecks, judge_clock
from .doctor_report import Finding, Report
from .doctor_setup import Setup
from .doctor_wants import wanted_claims
from .key import HOW_TO_MAKE_A_KEY
from .keycloak_answers import GrantRefused, KeycloakUnavailable


@dataclass(frozen=True)
class Questions:
    """What is asked beyond what anybody can see.

    Attributes:
        user: whose login is tried out; empty for nobody's.
        password: of the user, to get a real token; None to do without.
        provider: alias of the identity provider through which the user would come; empty for a local login.
        subject: who the user is there; empty for what Keycloak has linked.
        credentials: of somebody who may look at the realm; None to do without.
    """

    user: str = ""
    password: str | None = field(default=None, repr=False)
    provider: str = ""
    subject: str = ""
    credentials: Credentials | None = None


async def examine(setup: Setup, questions: Questions) -> Report:
    """Run every check that can be run, and return what they found."""
    return await _Examination(setup, questions).run()


class _Examination:
    def __init__(self, setup: Setup, questions: Questions) -> None:
        self._setup = setup
        self._questions = questions
        self._authenticator = setup.authenticator
        self._wire = setup.wire()
        self._provider = setup.provider(self._wire)
        self._report = Report({"issuer": self._authenticator.issuer, "client_id": self._authenticator.client_id})

    async def run(self) -> Report:
        self._report.add(self._settings())
        if not any(finding.level == "FAILED" for finding in self._report.findings):
            self._report.add(judge_guests(self._authenticator))
            await self._ask()
        return self._report

    def _settings(self) -> Iterator[Finding]:
        """Yield what is wrong with the hub's own settings; the hub does not start with them."""
        problems = self._authenticator.setting_problems()
        try:
            only_look(self._authenticator)
            _ = self._authenticator.sources
        except (BadFile, DirectoryUnavailable, ValueError) as error:
            problems += [f"guest_pool or identity_sources: {line}" for line in str(error).splitlines()]
        for problem in problems:
            yield Finding("FAILED", "settings", problem, "the hub does not start with it")
        key = self._key_problem()
        if key:
            yield Finding("FAILED", "settings", key, f"the hub does not start like this: {HOW_TO_MAKE_A_KEY}")
        if self._setup.whole and not self._authenticator.any_allow_config:
            said = "no allow rule is set: nobody may log in"
            todo = "set c.KeycloakAuthenticator.allowed_roles, allowed_groups, allowed_users or allow_all"
            yield Finding("warning", "settings", said, todo)
        elif not problems and not key:
            yield Finding("ok", "settings", "the hub starts with them")

    def _key_problem(self) -> str:
        """Return why nothing can be encrypted, as the hub looks for its key; empty where it can, or need not."""
        if not (self._setup.whole and self._authenticator.enable_auth_state):
            return ""
        try:
            CryptKeeper(config=self._authenticator.config).check_available()
        except EncryptionUnavailable as error:
            return str(error)
        except (TraitError, ValueError):  # their text may hold the key
            return "JUPYTERHUB_CRYPT_KEY, or c.CryptKeeper.keys, is not 32 bytes in hexadecimal digits or base64"
        return ""

    async def _ask(self) -> None:
        checks = PublicChecks(self._provider, self._wire, self._setup.asked)
        begin = len(self._report.findings)
        async for finding in checks.all():
            self._report.add([finding])
        if any(one.check == "discovery" and one.level == "FAILED" for one in self._report.findings[begin:]):
            return
        payload = await self._look_inside()
        if self._questions.password is not None:
            payload = await self._real_token(checks)
        self._report.add([judge_clock(self._wire.skews, self._authenticator.leeway)])
        await self._person(payload)

    # As somebody who may look at the realm

    async def _look_inside(self) -> Mapping[str, Any] | None:
        """Add what an administrator sees; return the payload of the user's example token, where there is one."""
        credentials = self._questions.credentials
        if credentials is None:
            said = "mappers, registered addresses, back-channel logout and user profile were not looked at"
            self._report.add([Finding("skipped", "admin", said, "name somebody who may look: --admin-user")])
            return None
        place = place_of(self._authenticator.issuer)
        if place is None:
            said = "the issuer has not the form https://HOST/realms/REALM"
            self._report.add([Finding("FAILED", "admin", said, "is it a Keycloak?")])
            return None
        try:
            admin = Admin(self._wire, *place)
            await admin.log_in(credentials)
            return await self._as_admin(admin)
        except (AdminRefused, KeycloakUnavailable) as error:
            todo = "without it mappers and addresses were not looked at"
            self._report.add([Finding("FAILED", "admin", str(error), todo)])
            return None

    async def _as_admin(self, admin: Admin) -> Mapping[str, Any] | None:
        client_id = self._authenticator.client_id
        client = await admin.client(client_id)
        if client is None:
            said = f"the realm has no client {bounded(client_id)}"
            self._report.add([Finding("FAILED", "client", said, "make it: hub_config/keycloak/realm.json has it")])
            return None
        self._report.add(judge_realm(await admin.realm()))
        self._report.add(judge_client(client, self._setup.hub))
        mappers = await admin.mappers(client, self._setup.asked.scope)
        brokers = await admin.brokers()
        wanted = wanted_claims(self._authenticator, [str(broker["alias"]) for broker in brokers])
        self._report.add(judge_mappers(wanted, mappers, client_id))
        self._report.add(judge_profile(await admin.profile(), attributes_of(wanted, mappers, client_id)))
        for broker in brokers:
            self._report.add(judge_broker(broker, await admin.broker_mappers(broker), await admin.first_login(broker)))
        return await self._example(admin, client) if self._questions.user else None

    async def _example(self, admin: Admin, client: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the token that the user would get, with what only the session of a brokered login would add."""
        name = self._questions.user
        user = await admin.user(name)
        if user is None:
            said = f"the realm has no user {bounded(name)}"
            todo = "give the name that stands under Users in the console; somebody of a home organisation is found"
            todo += " there by e-mail address, or by the link under 'Identity provider links'"
            self._report.add([Finding("FAILED", "user", said, todo)])
            return None
        if not user.get("enabled", True):
            self._report.add([Finding("FAILED", "user", f"{bounded(name)} is disabled", "Users: switch them on")])
        if actions := user.get("requiredActions"):
            said = f"{bounded(name)} must first do: {', '.join(map(str, actions))}"
            self._report.add([Finding("warning", "user", said, "they do it at their next login")])
        payload = await admin.example_id_token(client, str(user["id"]), self._setup.asked.scope)
        return payload | await self._brokered(admin, user)

    async def _brokered(self, admin: Admin, user: Mapping[str, Any]) -> dict[str, str]:
        """Return the claims of a login through the identity provider that was named."""
        provider, subject = self._questions.provider, self._questions.subject
        if not provider:
            return {}
        if not subject:
            links = {one.get("identityProvider"): one.get("userName") for one in await admin.federated(str(user["id"]))}
            subject = str(links.get(provider) or "")
        names = self._authenticator.claim_names
        if not subject:
            said = f"Keycloak has not linked {bounded(self._questions.user)} to {bounded(provider)}"
            self._report.add([Finding("warning", "user", said, "they do not come that way, or give --subject")])
        return {names.provider: provider, **({names.subject: subject} if subject else {})}

    # As the user

    async def _real_token(self, checks: PublicChecks) -> Mapping[str, Any] | None:
        """Return what a token says that the user's password gets; None, with a finding, where it gets none."""
        user, password = self._questions.user, self._questions.password or ""
        try:
            if not await checks.direct_grants(await self._provider.metadata()):
                said = "direct access grants are off, so that no token can be had with a password"
                todo = "that is as it should be: use --admin-user to see what the user would get"
                self._report.add([Finding("FAILED", "login", said, todo)])
                return None
            scope = self._setup.asked.scope
            tokens = await self._provider.tokens(grant_type="password", username=user, password=password, scope=scope)
            payload = await self._provider.id_token(tokens.get("id_token"), None)
        except GrantRefused as error:
            said = f"Keycloak refuses {bounded(user)}: {error.description}"
            self._report.add([Finding("FAILED", "login", said, "see Users > the user, and Realm events")])
        except (LoginProblem, KeycloakUnavailable) as error:
            self._report.add([Finding("FAILED", "login", str(error), "the hub would refuse every login like this")])
        else:
            self._report.add([Finding("ok", "login", f"the ID token of {bounded(user)} is verified")])
            return payload
        return None

    async def _person(self, payload: Mapping[str, Any] | None) -> None:
        user = self._questions.user
        if self._setup.whole:
            self._report.add([await judge_directory(self._authenticator, user, self._claims(payload))])
        if payload is not None:
            self._report.verdict = await judge_person(self._authenticator, user, payload)
        elif user:
            asked = self._questions.credentials is not None or self._questions.password is not None
            todo = "give --admin-user, or --login where direct access grants are on"
            todo = "mend first what failed above" if asked else todo
            self._report.add([Finding("skipped", "user", f"what {bounded(user)} would get cannot be told", todo)])

    def _claims(self, payload: Mapping[str, Any] | None) -> Claims | None:
        try:
            return read_claims(payload, self._authenticator.claim_names) if payload is not None else None
        except LoginProblem:
            return None  # the verdict says it
