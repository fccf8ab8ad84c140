"""The keys of the site file: what each is, for the reader of the file and for the page about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SiteKey:
    """One key.

    Attributes:
        section: the mapping that it stands in; empty at the top.
        name: the key.
        form: what a value looks like.
        default: what holds without it, as the file would say it; empty for nothing.
        meaning: one sentence.
    """

    section: str
    name: str
    form: str
    default: str
    meaning: str


KEYS = (
    SiteKey("slurm", "way", "`commands` or `rest`", "commands", "How Slurm is asked."),
    SiteKey("slurm", "rest_url", "URL", "", "Where slurmrestd is; needed with `way: rest`, and only then."),
    SiteKey(
        "slurm",
        "encryption",
        "`tls` or `none`",
        "tls",
        "`none` allows `http://` to another machine: tokens then cross the network readably.",
    ),
    SiteKey("slurm", "token_url", "URL", "", "Where a server gets its Slurm token; without it, the hub's own service."),
    SiteKey("slurm", "timeout", "duration, 1s to 60s", "10s", "How long one call of Slurm may take."),
    SiteKey(
        "slurm",
        "network",
        "addresses as in `10.1.0.0/16`",
        "",
        "A node uses its own address of these for Dask; without it, the one that its host name has.",
    ),
    SiteKey("scheduler", "cores", "number", "1", "Cores of the scheduler's job."),
    SiteKey("scheduler", "memory", "size", "2G", "Memory of the scheduler's job."),
    SiteKey(
        "workers",
        "python",
        "path",
        "",
        "The Python on the nodes; without it the kernel's own, which must then lie in a shared folder.",
    ),
    SiteKey(
        "workers",
        "prologue",
        "list of shell lines",
        "",
        "What every job does first, such as `module load python/3.11`.",
    ),
    SiteKey("workers", "shared", "list of paths", "/home", "Folders that the nodes share with the notebook servers."),
    SiteKey("defaults", "queue", "name", "", "Partition; without it Slurm's own default."),
    SiteKey("defaults", "account", "name", "", "Account; without it Slurm's own default."),
    SiteKey("defaults", "cores", "number", "1", "Cores of a worker."),
    SiteKey("defaults", "memory", "size", "2G", "Memory of a worker."),
    SiteKey("defaults", "walltime", "duration", "1h", "Wall time of every job of a cluster."),
    SiteKey("defaults", "n_workers", "number", "0", "Workers at the start."),
    SiteKey("defaults", "gpus", "number", "0", "GPUs of a worker."),
    SiteKey("groups[]", "group", "name", "", "Members of this group; needed in each entry."),
    SiteKey("groups[]", "account", "name", "", "Their account."),
    SiteKey("groups[]", "queue", "name", "", "Their partition."),
    SiteKey("limits", "workers", "number", "", "Most workers of one cluster."),
    SiteKey("limits", "cores", "number", "", "Most cores of a worker."),
    SiteKey("limits", "memory", "size", "", "Most memory of a worker."),
    SiteKey("limits", "gpus", "number", "", "Most GPUs of a worker."),
    SiteKey("limits", "walltime", "duration", "", "Longest wall time."),
    SiteKey("limits", "clusters", "number", "", "Most clusters that one user has at once."),
    SiteKey("", "idle", "duration, 1m to 1w", "30m", "A scheduler ends after this long without any client and owner."),
    SiteKey(
        "", "owner_grace", "duration, 1s to 1h", "30s", "A scheduler outlives the connection to its notebook by this."
    ),
    SiteKey(
        "",
        "folder",
        "path with `{home}` and `{username}`",
        "{home}/.nbplatform/dask",
        "Where the folders of clusters lie; on storage that the nodes share.",
    ),
    SiteKey("", "support", "text", "your administrators", "Whom the messages tell users to ask."),
)


def names(section: str) -> tuple[str, ...]:
    """Return the keys of a section; those of the top, with the sections among them, for an empty text."""
    own = [key.name for key in KEYS if key.section == section]
    if section:
        return tuple(own)
    return tuple(dict.fromkeys([*(key.section.removesuffix("[]") for key in KEYS if key.section), *own]))


def markdown_table() -> str:
    """Return all keys as a table in Markdown, for the page about the file."""
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key in KEYS:
        name = f"{key.section}.{key.name}" if key.section else key.name
        default = f"`{key.default}`" if key.default else ""
        lines.append(f"| `{name}` | {key.form} | {default} | {key.meaning} |")
    return "\n".join(lines)
