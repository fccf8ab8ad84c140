"""A real OpenLDAP server on the loopback address, with groups of either schema, TLS, and data of the caller's own.

with slapd(schema="rfc2307bis", entries=site_entries(...)) as server:
    server.ldaps                    # -> "ldaps://127.0.0.1:24817"
    server.kill9(); server.start()  # its data outlive it
    with server.hung(): ...         # it accepts connections and answers nothing

Needs Debian's package ``slapd``; any user may run it.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import MissingComponent
from .docker_pki import Authority, write
from .keeper import Keeper, Kept, keeper
from .ports import free_ports, listens

Schema = Literal["nis", "rfc2307bis"]
Attributes = Mapping[str, str | Sequence[str]]
BASE = "dc=site,dc=example"
ADMIN = f"cn=admin,{BASE}"
SERVICE = f"cn=hub,ou=services,{BASE}"
"""The account that a hub binds as: it may read everything but passwords."""
BLIND = f"cn=blind,ou=services,{BASE}"
"""An account that may bind, and see nothing."""
NAMELESS = f"cn=nameless,ou=services,{BASE}"
"""An account that sees every entry, and of none the ``uid``."""
PASSWORD = "of-no-use-to-anyone"  # the same for all of them
SCHEMAS = Path("/etc/ldap/schema")
_SYNTAX = "1.3.6.1.4.1.1466.115.121.1"
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec")
_STARTS_WITHIN = 30.0


@dataclass(frozen=True)
class Item:
    """One entry of the directory.

    Attributes:
        dn: its distinguished name.
        attributes: name to the value or the values.
    """

    dn: str
    attributes: Attributes


class Slapd:
    """One server; made by :func:`slapd`.

    Attributes:
        ldap: address for StartTLS, or for none.
        ldaps: address for TLS from the first byte.
        authority: who signed its certificate, which is for 127.0.0.1 alone.
        folder: a temporary folder, in which tests may write files of their own.
    """

    def __init__(self, keeper: Keeper, programs: Mapping[str, str], schema: Schema) -> None:
        ports = free_ports()
        self._keeper, self._programs = keeper, programs
        self._ports = (ports.public, ports.hub)
        self.folder = keeper.folder
        self.ldap, self.ldaps = f"ldap://127.0.0.1:{ports.public}", f"ldaps://127.0.0.1:{ports.hub}"
        self.authority = Authority(keeper.folder / "pki")
        self.password_file = write(keeper.folder / "password", f"{PASSWORD}\n".encode(), 0o600)
        self._process: Kept | None = None
        self._configure(schema)

    @property
    def ca(self) -> Path:
        """The authority's certificate."""
        return self.authority.ca

    @property
    def pid(self) -> int:
        """Process id of the server that runs now."""
        assert self._process is not None
        return self._process.pid

    def load(self, entries: Iterable[Item]) -> None:
        """Add entries while it does not run; parents stand before their children."""
        file = self.folder / "data.ldif"
        with file.open("w") as out:
            out.writelines(ldif(entry) for entry in entries)
        self._slapadd("-n", "1", "-q", "-l", str(file))
        file.unlink()

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = [
            self._programs["slapd"],
            "-F",
            self.folder / "config",
            "-h",
            f"{self.ldap}/ {self.ldaps}/",
            "-d",
            "0",
        ]
        self._process = self._keeper.start(command, log=self.folder / "slapd.log")
        limit = time.monotonic() + _STARTS_WITHIN
        while not all(listens(port) for port in self._ports):
            if not self._process.alive() or time.monotonic() > limit:
                raise RuntimeError(f"slapd does not start: {self._process.log_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it as an administrator does."""
        assert self._process is not None
        self._process.stop()

    def kill9(self) -> None:
        """Let it die in the middle of whatever it does."""
        assert self._process is not None
        self._process.kill9()

    @contextmanager
    def killed(self) -> Iterator[None]:
        """While the block runs, nobody listens."""
        self.kill9()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def hung(self) -> Iterator[None]:
        """While the block runs, the server answers nothing; the kernel still accepts connections for it."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            stat = Path(f"/proc/{self.pid}/stat")
            while stat.read_text().rpartition(")")[2].split()[0] != "T":  # its threads stop one after the other
                time.sleep(0.01)
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def modify(self, changes: str) -> None:
        """Apply changes in LDIF while it does not run.

        Args:
            changes: as ``slapmodify`` takes them.
        """
        file = self.folder / "changes.ldif"
        file.write_text(changes)
        run([self._programs["slapmodify"], "-F", str(self.folder / "config"), "-n", "1", "-l", str(file)])

    def without_tls(self) -> None:
        """Take its certificate away while it does not run."""
        file = self.folder / "changes.ldif"
        kinds = ("CertificateKeyFile", "CertificateFile", "CACertificateFile")
        changes = "\n-\n".join(f"delete: olcTLS{kind}" for kind in kinds)
        file.write_text(f"dn: cn=config\nchangetype: modify\n{changes}\n")
        run([self._programs["slapmodify"], "-F", str(self.folder / "config"), "-n", "0", "-l", str(file)])

    def _configure(self, schema: Schema) -> None:
        config, data = self.folder / "config", self.folder / "data"
        config.mkdir(mode=0o700)
        data.mkdir(mode=0o700)
        certificate, key = self.authority.server("slapd", ["127.0.0.1"])
        file = self.folder / "config.ldif"
        names = ["core", "cosine", *(["nis"] if schema == "nis" else []), "inetorgperson"]
        includes = [f"include: file://{SCHEMAS}/{name}.ldif" for name in names]
        own = [RFC2307BIS, SITE_SCHEMA] if schema == "rfc2307bis" else [SITE_SCHEMA]
        head = CONFIG_HEAD.format(certificate=certificate, key=key, ca=self.ca, modules=module_folder())
        database = CONFIG_DATABASE.format(
            data=data, base=BASE, admin=ADMIN, password=PASSWORD, blind=BLIND, nameless=NAMELESS
        )
        file.write_text("\n\n".join([head, *includes, *own, database]) + "\n")
        self._slapadd("-n", "0", "-l", str(file))

    def _slapadd(self, *arguments: str) -> None:
        run([self._programs["slapadd"], "-F", str(self.folder / "config"), *arguments])


def run(command: Sequence[str]) -> None:
    """Run one of the server's tools to its end; an error shows what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")


def module_folder() -> Path:
    """Return where the server's modules are."""
    return next(
        path for path in map(Path, ("/usr/lib/ldap", "/usr/lib/openldap", "/usr/lib64/openldap")) if path.is_dir()
    )


def ldif(entry: Item) -> str:
    """Return one entry as LDIF, every value in base64."""
    lines = [f"dn:: {encoded(entry.dn)}"]
    for name, values in entry.attributes.items():
        lines += [f"{name}:: {encoded(value)}" for value in ([values] if isinstance(values, str) else values)]
    return "\n".join(lines) + "\n\n"


def encoded(text: str) -> str:
    """Return a text's UTF-8 in base64."""
    return base64.b64encode(text.encode()).decode()


def frame() -> list[Item]:
    """Return what every site has: the tree's root, its units and the service accounts."""
    units = ("people", "groups", "services")
    services = [
        Item(dn, {"objectClass": ["organizationalRole", "simpleSecurityObject"], "cn": name, "userPassword": PASSWORD})
        for dn, name in ((SERVICE, "hub"), (BLIND, "blind"), (NAMELESS, "nameless"))
    ]
    root = Item(BASE, {"objectClass": ["dcObject", "organization"], "dc": "site", "o": "A site"})
    return [root, *(unit(f"ou={name},{BASE}") for name in units), *services]


def unit(dn: str) -> Item:
    """Return an organizational unit."""
    return Item(dn, {"objectClass": "organizationalUnit", "ou": dn.partition(",")[0].partition("=")[2]})


def person(name: str, number: int, gid: int, under: str = f"ou=people,{BASE}", **more: str | Sequence[str]) -> Item:
    """Return a person with a posixAccount; ``number`` is its uid, ``more`` adds or replaces attributes."""
    attributes: dict[str, str | Sequence[str]] = {
        "objectClass": ["inetOrgPerson", "posixAccount", "shadowAccount", "siteAccount"],
        "uid": name,
        "cn": name,
        "sn": name,
        "uidNumber": str(number),
        "gidNumber": str(gid),
        "homeDirectory": f"/home/{name}",
        "loginShell": "/bin/bash",
        "userPassword": PASSWORD,
    }
    return Item(f"uid={name},{under}", {**attributes, **more})


def group(name: str, gid: int, names: Sequence[str] = ()) -> Item:
    """Return a posixGroup of the nis schema, its members by name."""
    members: dict[str, Sequence[str]] = {"memberUid": names} if names else {}
    dn = f"cn={name},ou=groups,{BASE}"
    return Item(dn, {"objectClass": "posixGroup", "cn": name, "gidNumber": str(gid), **members})


def group_of_names(name: str, gid: int, names: Sequence[str]) -> Item:
    """Return a group of the rfc2307bis schema, its members by distinguished name."""
    members = [f"uid={member},ou=people,{BASE}" for member in names]
    classes = ["groupOfNames", "posixGroup"]
    dn = f"cn={name},ou=groups,{BASE}"
    return Item(dn, {"objectClass": classes, "cn": name, "gidNumber": str(gid), "member": members or [ADMIN]})


def large_site(accounts: int, groups: int) -> Iterator[Item]:
    """Return a site of many accounts and groups; ``user0`` is in every group, any other in two."""
    yield group("users", 50_000)
    for number in range(groups):
        members = {"user0", *(f"user{one}" for one in range(number, accounts, groups))}
        members.update(f"user{one}" for one in range((number - 1) % groups, accounts, groups))
        yield group(f"group{number}", 51_000 + number, sorted(members))
    for number in range(accounts):
        yield person(f"user{number}", 100_000 + number, 50_000)


@contextmanager
def slapd(*, schema: Schema = "nis", entries: Iterable[Item] = ()) -> Iterator[Slapd]:
    """A server with :func:`frame` and ``entries``, which runs until the block, or the owner, ends.

    Raises:
        MissingComponent: the machine has no slapd.
    """
    path = os.pathsep.join((os.environ.get("PATH", ""), *_PLACES))
    programs = {name: shutil.which(name, path=path) for name in ("slapd", "slapadd", "slapmodify")}
    if None in programs.values() or not SCHEMAS.is_dir():
        raise MissingComponent("slapd is not installed (as root: apt-get install slapd)")
    with keeper("slapd") as one:
        server = Slapd(one, {name: str(found) for name, found in programs.items()}, schema)
        server.load([*frame(), *entries])
        server.start()
        yield server


CONFIG_HEAD = """\
dn: cn=config
objectClass: olcGlobal
cn: config
olcTLSCACertificateFile: {ca}
olcTLSCertificateFile: {certificate}
olcTLSCertificateKeyFile: {key}

dn: cn=module,cn=config
objectClass: olcModuleList
cn: module
olcModulePath: {modules}
olcModuleLoad: back_mdb

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema"""
CONFIG_DATABASE = """\
dn: olcDatabase=mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: mdb
olcDbDirectory: {data}
olcDbMaxSize: 268435456
olcSuffix: {base}
olcRootDN: {admin}
olcRootPW: {password}
olcDbIndex: objectClass,uid,uidNumber,gidNumber,memberUid,member,cn,linkProvider,linkSubject eq
olcAccess: to attrs=userPassword by anonymous auth by * none
olcAccess: to attrs=uid by dn.exact="{nameless}" none by * break
olcAccess: to * by dn.exact="{blind}" none by users read by * none"""
RFC2307BIS = f"""\
dn: cn=rfc2307bis,cn=schema,cn=config
objectClass: olcSchemaConfig
cn: rfc2307bis
olcAttributeTypes: ( 1.3.6.1.1.1.1.2 NAME 'gecos' EQUALITY caseIgnoreMatch SYNTAX {_SYNTAX}.15 SINGLE-VALUE )
olcAttributeTypes: ( 1.3.6.1.1.1.1.3 NAME 'homeDirectory' EQUALITY caseExactIA5Match SYNTAX {_SYNTAX}.26 SINGLE-VALUE )
olcAttributeTypes: ( 1.3.6.1.1.1.1.4 NAME 'loginShell' EQUALITY caseExactIA5Match SYNTAX {_SYNTAX}.26 SINGLE-VALUE )
olcAttributeTypes: ( 1.3.6.1.1.1.1.10 NAME 'shadowExpire' EQUALITY integerMatch SYNTAX {_SYNTAX}.27 SINGLE-VALUE )
olcAttributeTypes: ( 1.3.6.1.1.1.1.12 NAME 'memberUid' EQUALITY caseExactMatch SYNTAX {_SYNTAX}.15 )
olcObjectClasses: ( 1.3.6.1.1.1.2.0 NAME 'posixAccount' SUP top AUXILIARY
  MUST ( cn $ uid $ uidNumber $ gidNumber $ homeDirectory ) MAY ( userPassword $ loginShell $ gecos $ description ) )
olcObjectClasses: ( 1.3.6.1.1.1.2.1 NAME 'shadowAccount' SUP top AUXILIARY
  MUST uid MAY ( userPassword $ description $ shadowExpire ) )
olcObjectClasses: ( 1.3.6.1.1.1.2.2 NAME 'posixGroup' SUP top AUXILIARY
  MUST gidNumber MAY ( userPassword $ memberUid $ description ) )"""
"""As rfc2307bis has it, less what no test uses; ``uidNumber`` and ``gidNumber`` are built into slapd."""
SITE_SCHEMA = f"""\
dn: cn=site,cn=schema,cn=config
objectClass: olcSchemaConfig
cn: site
olcAttributeTypes: ( 1.1.2.1.1 NAME 'linkProvider' EQUALITY caseIgnoreMatch SYNTAX {_SYNTAX}.15 )
olcAttributeTypes: ( 1.1.2.1.2 NAME 'linkSubject' EQUALITY caseIgnoreMatch SYNTAX {_SYNTAX}.15 )
olcAttributeTypes: ( 1.1.2.1.3 NAME 'accountExpires' EQUALITY integerMatch SYNTAX {_SYNTAX}.27 SINGLE-VALUE )
olcAttributeTypes: ( 1.1.2.1.4 NAME 'endsAt' EQUALITY generalizedTimeMatch SYNTAX {_SYNTAX}.24 SINGLE-VALUE )
olcAttributeTypes: ( 1.1.2.1.5 NAME 'endsAtSecond' EQUALITY integerMatch SYNTAX {_SYNTAX}.27 SINGLE-VALUE )
olcAttributeTypes: ( 1.1.2.1.6 NAME 'nsAccountLock' EQUALITY caseIgnoreMatch SYNTAX {_SYNTAX}.15 SINGLE-VALUE )
olcObjectClasses: ( 1.1.2.2.1 NAME 'siteAccount' SUP top AUXILIARY
  MAY ( linkProvider $ linkSubject $ accountExpires $ endsAt $ endsAtSecond $ nsAccountLock ) )"""
"""Attributes of other products, and links to identity providers that a careless schema compares without case."""
