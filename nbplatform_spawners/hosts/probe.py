"""What only a host itself can see: a script for a short-lived container on it, and what its answer means.  Pure.

The container sees the mount roots of the host read-only, at their own places, and nothing else of it: no network, no
capability but that to read past permissions.  It is told paths on its standard input and answers one fact a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .containers import PREFIX

LABEL = f"{PREFIX}probe"
"""Marks the containers of ``nbplatform hosts check``; they have no hub, so no hub counts or stops them."""
LIVES = 120
"""Seconds after which a container that nobody ends is gone by itself."""
_MOST_ENTRIES = 20_000
_MEMORY = 256 * 1024**2
_END = "end"

SCRIPT = r"""
newline='
'
resolve() {  # the path that $1 leads to, link by link: what it leads to need not be visible here
  rest=${1#/} done= links=0
  while [ -n "$rest" ]; do
    part=${rest%%/*}
    case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
    case $part in
      ''|.) continue ;;
      ..) done=${done%/*}; continue ;;
    esac
    if [ -h "$done/$part" ]; then
      links=$((links + 1))
      [ "$links" -gt 40 ] && return
      to=$(readlink "$done/$part")
      case $to in /*) done= ;; esac
      rest=$to/$rest
    else
      done=$done/$part
    fi
  done
  done=${done%%"$newline"*}
}
while IFS= read -r line; do
  path=${line#* }
  case ${line%% *} in
    source)
      resolve "$path"
      [ "$links" -gt 40 ] && { printf 'loop %s\n' "$path"; continue; }
      [ "$links" -gt 0 ] && printf 'link %s\t%s\n' "$path" "${done:-/}"
      [ -e "$path" ] || printf 'missing %s\n' "$path"
      ;;
    folder)
      seen=0
      for entry in "$path"/*; do
        seen=$((seen + 1))
        [ "$seen" -gt MOST ] && { printf 'many %s\n' "$path"; break; }
        [ -h "$entry" ] || continue
        case $entry in *"$newline"*) continue ;; esac
        resolve "$entry"
        [ "$links" -gt 40 ] || printf 'link %s\t%s\n' "$entry" "${done:-/}"
      done
      ;;
  esac
done
for card in /proc/driver/nvidia/gpus/*/information; do
  [ -r "$card" ] || continue
  while read -r line; do
    case $line in 'GPU UUID:'*) printf 'gpu %s\n' "${line##*[: 	]}" ;; esac
  done < "$card"
done
[ -d /proc/driver/nvidia ] && printf 'driver\n'
printf 'end\n'
""".replace("MOST", str(_MOST_ENTRIES))


@dataclass(frozen=True)
class Sight:
    """What a probe saw.

    Attributes:
        missing: sources that are not there.
        links: path to where it leads, for sources and entries of folders that are links or lie behind one.
        loops: sources whose links lead in a circle.
        crowded: folders that hold too many entries to look at all.
        gpus: ids of the machine's GPUs; None where NVIDIA's driver does not run, or does not know them yet.
        whole: the answer came to its end.
    """

    missing: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    loops: tuple[str, ...] = ()
    crowded: tuple[str, ...] = ()
    gpus: tuple[str, ...] | None = None
    whole: bool = False


def probe_config(image: str, roots: Iterable[str]) -> dict[str, Any]:
    """Return the body of ``POST /containers/create`` for a probe.

    Args:
        image: one that is on the host and has a shell.
        roots: folders that exist on the host.
    """
    mounts = [
        {
            "Type": "bind",
            "Source": root,
            "Target": root,
            "ReadOnly": True,
            "BindOptions": {"Propagation": "rprivate"},
        }
        for root in roots
    ]
    return {
        "Image": image,
        "Entrypoint": ["/bin/sh", "-c", f"exec sleep {LIVES}"],
        "Cmd": [],
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "NVIDIA_VISIBLE_DEVICES=void"],
        "User": "0:0",
        "WorkingDir": "/",
        "Labels": {LABEL: "1"},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "AutoRemove": True,
            "CapAdd": ["DAC_READ_SEARCH"],
            "CapDrop": ["ALL"],
            "Init": True,
            "LogConfig": {"Type": "none", "Config": {}},
            "Memory": _MEMORY,
            "Mounts": mounts,
            "NetworkMode": "none",
            "PidsLimit": 64,
            "ReadonlyRootfs": True,
            "SecurityOpt": ["no-new-privileges:true"],
        },
    }


def probe_question(sources: Iterable[str], folders: Iterable[str]) -> bytes:
    """Return what a probe reads.

    Args:
        sources: clean paths that are to exist.
        folders: clean paths whose entries are looked at for links; one that does not exist has none.
    """
    lines = [*(f"source {path}" for path in sources), *(f"folder {path}" for path in folders)]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def read_answer(text: str) -> Sight:
    """Return what a probe's answer says; lines that say nothing known are passed over."""
    facts: dict[str, list[str]] = {}
    for line in text.split("\n"):
        what, _, rest = line.rstrip("\r").partition(" ")
        facts.setdefault(what, []).append(rest)
    links = (found.partition("\t") for found in facts.get("link", ()))
    gpus = facts.get("gpu", [])
    unknown = "driver" not in facts or any("?" in gpu for gpu in gpus)
    return Sight(
        missing=tuple(facts.get("missing", ())),
        links=tuple(dict.fromkeys((path, to) for path, _, to in links)),
        loops=tuple(facts.get("loop", ())),
        crowded=tuple(facts.get("many", ())),
        gpus=None if unknown else tuple(gpus),
        whole=_END in facts,
    )


def merged(answers: Sequence[Sight]) -> Sight:
    """Return what several answers of one probe say together; the last knows the GPUs."""
    return Sight(
        missing=tuple(path for sight in answers for path in sight.missing),
        links=tuple(dict.fromkeys(link for sight in answers for link in sight.links)),
        loops=tuple(path for sight in answers for path in sight.loops),
        crowded=tuple(path for sight in answers for path in sight.crowded),
        gpus=answers[-1].gpus if answers else None,
        whole=bool(answers) and all(sight.whole for sight in answers),
    )
