"""A plan as bubblewrap's argument list.  Pure: no file is looked at here.

The view is built in two steps.  First a helper process (``hosts/local_launcher.py``) *stages* what the plan mounts: it
opens each source without following a symbolic link that a user could have made, and binds what it opened under a
private folder, one number each.  Then bubblewrap binds these numbers where the plan wants them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ..identity import Identity
from ..mounts import Mount, Propagation, is_below
from ..plan import SpawnPlan
from .etc_files import GENERATED
from .login import login_env
from .targets import OWN_FOLDER, check_target, is_within

ENTER = f"{OWN_FOLDER}/enter.py"
"""Where the few lines that run inside before the server lie in the view."""

SYSTEM = -1
"""Stands for the system's folders where ``Staged.parent`` names what a target lies in."""

_WORLD_WRITABLE = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - each server gets its own


@dataclass(frozen=True)
class View:
    """What this machine gives to every server's view of the file system.

    Attributes:
        mode: ``root`` (numbers set by setpriv) or ``userns`` (a user namespace for each server).
        bwrap, setpriv: absolute paths of these programs; ``setpriv`` is used in mode ``root`` alone.
        python: interpreter of the few lines that run inside before the server; lies in ``environment`` or the system.
        enter: path of these lines (``hosts/local_enter.py``).
        folders: system folders, shown read-only where they are.
        links: symbolic links of the root folder, as (what it holds, its path).
        environment: folders of the Python environment (and files), shown read-only where they are.
        resolver: where ``/etc/resolv.conf`` really lies, when that is outside ``folders``.
        covered_files, covered_folders: what is shown empty, such as ``/etc/shadow``.
        gpu_nodes: (id of a GPU, its device node), for granted GPUs alone.
        gpu_common: device nodes that every server with a GPU needs.
    """

    mode: Literal["root", "userns"]
    bwrap: str
    setpriv: str
    python: str
    enter: str
    folders: tuple[str, ...]
    links: tuple[tuple[str, str], ...] = ()
    environment: tuple[str, ...] = ()
    resolver: str | None = None
    covered_files: tuple[str, ...] = ()
    covered_folders: tuple[str, ...] = ()
    gpu_nodes: tuple[tuple[str, str], ...] = ()
    gpu_common: tuple[str, ...] = ()


@dataclass(frozen=True)
class OpenFiles:
    """Numbers of the open files that the processes before the server inherit.

    Attributes:
        enter: the command, the environment and the working directory.
        status: takes the status from bubblewrap, one JSON object a line.
        reached: the same file, opened twice since bubblewrap keeps its own from what it starts.
    """

    enter: int
    status: int
    reached: int


class Granting(Protocol):
    """What decides which groups a machine can grant."""

    @property
    def mode(self) -> Literal["root", "userns", "plain"]:
        """How servers get their numbers."""

    @property
    def gids(self) -> frozenset[int]:
        """The hub's own groups, which every server of an ordinary user's hub keeps."""


@dataclass(frozen=True)
class Staged:
    """One thing that the helper process makes ready, and bubblewrap binds.

    Attributes:
        source: absolute path on the host; None for an empty folder (or file) that hides what is there.
        target: absolute path inside.
        read_only, propagation, optional: as in ``Mount``.
        parent: number of the staged thing that the target lies in, ``SYSTEM``, or None for neither.
    """

    source: str | None
    target: str
    read_only: bool
    propagation: Propagation
    optional: bool
    parent: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return the plain dict that the helper process reads."""
        return dict(vars(self))


def stage(plan: SpawnPlan, folders: tuple[str, ...]) -> tuple[Staged, ...]:
    """Return what has to be staged, in the order of the numbers: parents first.

    Args:
        plan: whose mounts and hidden targets.
        folders: the view's system folders.

    Raises:
        Refusal: with the label ``storage``, when a mount would replace a part of the system.
    """
    for mount in plan.mounts:
        check_target(mount)
    wanted = [*plan.mounts, *(Mount("", target, read_only=True, optional=True) for target in plan.hidden)]
    found: list[Staged] = []
    for mount in sorted(wanted, key=lambda mount: (mount.target.split("/"), mount.source)):
        parent = _parent(mount.target, found, folders)
        if mount.source or parent is not None:
            source = mount.source or None
            found.append(Staged(source, mount.target, mount.read_only, mount.propagation, mount.optional, parent))
    return tuple(found)


def needed(staged: tuple[Staged, ...], environment: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Return (path, number of the staged thing it lies in) of what the environment needs to find in planned storage."""
    lying = ((path, _parent(path, list(staged), ())) for path in environment)
    return tuple((path, parent) for path, parent in lying if parent is not None)


def sandbox_argv(plan: SpawnPlan, view: View, directory: str, files: OpenFiles) -> tuple[str, ...]:
    """Return the whole command line of the sandbox.  It holds neither the server's command nor its environment.

    Args:
        plan: what to start.
        view: what the machine gives.
        directory: the server's private folder, with ``stage/``, the generated files and the empty file ``empty``.
        files: what the processes inherit.

    Raises:
        Refusal: see ``stage``.
    """
    identity = plan.identity
    own = ["--unshare-user", "--uid", str(identity.uid), "--gid", str(identity.gid)] if view.mode == "userns" else []
    return (
        *(view.bwrap, *own, "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
        *("--json-status-fd", str(files.status)),
        *_laid_out(plan, view, directory),
        *("--remount-ro", "/", "--chdir", "/", "--"),
        *(_setpriv(view.setpriv, identity) if view.mode == "root" else ()),
        *(view.python, "-I", "-S", ENTER, str(files.enter), str(files.reached)),
    )


def server_env(plan: SpawnPlan, home: str, path: str) -> dict[str, str]:
    """Return the server's whole environment: the plan's, and what every login has where the plan does not say it.

    Args:
        plan: whose environment.
        home, path: HOME and PATH where the plan sets none.
    """
    return {"PATH": path, **login_env(plan, home)}


def ungranted_groups(plan: SpawnPlan, machine: Granting) -> tuple[str, ...]:
    """Return the names of the identity's groups whose rights the server will not have on this machine.

    In a user namespace the primary group is granted in name, the others only where the hub's own user is in them.
    """
    if machine.mode == "root":
        return ()
    granted = machine.gids | ({plan.identity.gid} if machine.mode == "userns" else frozenset())
    return tuple(name for name, gid in plan.identity.groups.items() if gid not in granted)


def _setpriv(setpriv: str, identity: Identity) -> tuple[str, ...]:
    return (
        *(setpriv, "--reuid", str(identity.uid), "--regid", str(identity.gid)),
        *("--groups", ",".join(map(str, identity.gids))),
        *("--inh-caps", "-all", "--ambient-caps", "-all", "--bounding-set", "-all", "--no-new-privs", "--"),
    )


def _parent(target: str, earlier: list[Staged], folders: tuple[str, ...]) -> int | None:
    for number in range(len(earlier) - 1, -1, -1):
        if is_below(target, earlier[number].target):
            return number
    return SYSTEM if any(is_below(target, folder) for folder in folders) else None


@dataclass(frozen=True)
class _Step:
    """One target of the view, and the arguments that make it.

    Attributes:
        kind: what lies below it: ``bound``, where no folder is ours to make; ``fresh``, where they are; ``unknown``.
    """

    target: str
    args: tuple[str, ...]
    kind: Literal["bound", "fresh", "unknown"] = "bound"


def _laid_out(plan: SpawnPlan, view: View, directory: str) -> Iterator[str]:
    """Yield the arguments that make the view.

    What the plan mounts comes before the system, except where it lies within the system.  bubblewrap, still root, goes
    through folders of the user to reach a nested target: wherever a swapped folder leads it to, the system that
    setpriv is taken from covers it.
    """
    system = {step.target: step for step in _system_steps(plan, view, directory)}
    planned = list(_planned_steps(stage(plan, view.folders), directory))
    inside = {step.target: step for step in planned if any(is_within(step.target, own) for own in system)}
    outside = [step for step in planned if step.target not in inside]
    made: set[str] = set()
    bound: list[str] = []
    for step in (*outside, *sorted({**system, **inside}.values(), key=lambda step: step.target.split("/"))):
        for folder in _ancestors(step.target):
            if folder not in made and not any(is_within(folder, other) for other in bound):
                made.add(folder)
                yield from ("--perms", "0755", "--dir", folder)
        yield from step.args
        if step.kind == "bound":
            bound.append(step.target)
        elif step.kind == "fresh":
            made.add(step.target)


def _ancestors(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:length]) for length in range(2, len(parts))]


def _planned_steps(staged: tuple[Staged, ...], directory: str) -> Iterator[_Step]:
    for number, thing in enumerate(staged):
        option = ("--ro-bind" if thing.read_only else "--bind") + ("-try" if thing.optional else "")
        args = (option, f"{directory}/stage/{number}", thing.target)
        yield _Step(thing.target, args, "unknown" if thing.optional else "bound")


def _system_steps(plan: SpawnPlan, view: View, directory: str) -> Iterator[_Step]:
    for held, link in view.links:
        yield _Step(link, ("--symlink", held, link))
    yield _Step("/proc", ("--proc", "/proc"))
    yield _Step("/dev", ("--dev", "/dev"), "fresh")
    yield _Step("/sys/devices/system", ("--ro-bind-try", "/sys/devices/system", "/sys/devices/system"))
    for folder in _WORLD_WRITABLE:
        yield _Step(folder, ("--perms", "1777", "--tmpfs", folder), "fresh")
    for name in GENERATED:
        yield _read_only(f"{directory}/{name}", f"/etc/{name}")
    for path in view.covered_files:
        yield _read_only(f"{directory}/empty", path)
    for path in view.covered_folders:
        yield _Step(path, ("--perms", "0555", "--tmpfs", path, "--remount-ro", path))
    resolver = () if view.resolver is None else (view.resolver,)
    for path in (*view.folders, *resolver, *view.environment):
        yield _read_only(path, path)
    yield _read_only(view.enter, ENTER)
    granted = [node for gpu, node in view.gpu_nodes if gpu in plan.placement.gpus]
    for node in (*granted, *(view.gpu_common if plan.placement.gpus else ())):
        yield _Step(node, ("--dev-bind-try", node, node))


def _read_only(source: str, target: str) -> _Step:
    return _Step(target, ("--ro-bind", source, target))
