"""Sites with 1,000 rules, one of a realistic mix and one of the worst: what the benchmarks of the rules measure on."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from nbplatform_spawners.identity import Identity

RULES = 1000
FILES = 10
GROUPS = [f"{field}-{number:02}" for field in ("astro", "hep", "bio", "ml", "theory", "school") for number in range(50)]
PROFILES = ("cpu", "cpu-large", "gpu", "gpu-pair", "gpu-a100", "web")

_BASE = """\
pools:
  cpu:
    overcommit: 1.5
    hosts:
{cpu_hosts}
  gpu:
    hosts:
{gpu_hosts}
  training: {{reserved: true, hosts: [{{name: train01, url: "tcp://train01:2376", memory: 64G}}]}}
lists:
  experiments: [{experiments}]
  schools: ["school-*"]
profiles:
  cpu: {{title: "CPU", image: "site/scipy:1", pool: cpu, allow: true}}
  cpu-large: {{title: "Large", image: "site/scipy:1", pool: [cpu, gpu], memory: 32G}}
  gpu: {{title: "GPU", image: "site/gpu:1", pool: gpu, gpus: 1, memory: 16G, cpu: 4}}
  gpu-pair: {{title: "GPUs", image: "site/gpu:1", pool: gpu, gpus: 2, memory: 32G, cpu: 8}}
  gpu-a100: {{title: "A100", image: "site/gpu:1", pool: gpu, gpus: 1, gpu_model: A100, memory: 64G}}
  web: {{title: "Small", image: "site/web:1", pool: cpu, memory: 1G, allow: true}}
defaults:
  memory: 4G
  cpu: 2
  quota: {{servers: 3, gpus: 1}}
  idle: {{cull_after: 3d, cull_after_gpu: 1d, warn_before: 2h, max_age: never}}
  mounts:
    - {{source: "{{home}}"}}
    - {{source: /cvmfs, read_only: true, propagation: rslave}}
    - {{source: /software, read_only: true}}
  env: {{SITE: "large", GROUP_DIR: "/throng/{{primary_group}}"}}
"""


def rule_files(seed: int = 1) -> dict[str, bytes]:
    """Return the rule files: one with what there is, ten with 100 rules each.

    Args:
        seed: another seed gives other rules of the same mix.
    """
    random = Random(seed)
    rules = [_rule(number, random) for number in range(RULES)]
    random.shuffle(rules)
    size = RULES // FILES
    files = {"00-base.yaml": _base().encode()}
    for number in range(FILES):
        text = "rules:\n" + "".join(rules[number * size : (number + 1) * size])
        files[f"{number + 20}-rules.yaml"] = text.encode()
    return files


def worst_rule_files() -> dict[str, bytes]:
    """Return the rule files of a site that no index helps: each of 1,000 rules holds for nearly everybody.

    A rule that says only for whom it does not hold is found under no name, so every decision asks and applies each.
    """
    rules = "".join(
        f"  - name: rule {number}\n    match: {{not: {{groups: [{GROUPS[number % len(GROUPS)]}]}}}}\n"
        f"    mounts: [{{source: /data/{number}, read_only: true}}]\n    memory: {number % 24 + 1}G\n"
        for number in range(RULES)
    )
    return {"00-base.yaml": _base().encode(), "20-rules.yaml": f"rules:\n{rules}".encode()}


def identities(count: int, seed: int = 2) -> Iterator[Identity]:
    """Yield different people, each in two to nine groups; one in five came through a broker."""
    random = Random(seed)
    for number in range(count):
        names = random.sample(GROUPS, random.randint(2, 9))
        groups = {name: 20_000 + GROUPS.index(name) for name in names}
        name = f"user{number:04}"
        provider = "edugain" if random.random() < 0.2 else None
        yield Identity(name, 30_000 + number, groups[names[0]], groups, names[0], f"/home/{name}", provider=provider)


def _base() -> str:
    cpu = (f'      - {{name: cpu{n:02}, url: "tcp://cpu{n:02}:2376", memory: 64G, cpus: 16}}' for n in range(20))
    gpu = (
        f'      - {{name: gpu{n:02}, url: "tcp://gpu{n:02}:2376", memory: 256G, memory_per_gpu: 16G,'
        f" gpu_model: {'A100' if n % 2 else 'K80'}, gpus: [{', '.join(f'G{n:02}{at}' for at in range(4))}]}}"
        for n in range(10)
    )
    experiments = ", ".join(GROUPS[50:100:2])
    return _BASE.format(cpu_hosts="\n".join(cpu), gpu_hosts="\n".join(gpu), experiments=experiments)


def _rule(number: int, random: Random) -> str:
    """Return one rule.  Of 100: 35 for groups, 25 for people, 12 with dates, 18 with wildcards or lists, 10 others."""
    group, other = random.sample(GROUPS, 2)
    profile = random.choice(PROFILES)
    users = ", ".join(f"user{random.randrange(2000):04}" for _ in range(random.randint(1, 6)))
    head = f"  - name: rule {number}\n    match: "
    kind = number % 100
    if kind < 20:
        return f'{head}{{groups: [{group}, {other}]}}\n    mounts: [{{source: "/sps/{{group}}"}}]\n'
    if kind < 35:
        return f"{head}{{groups: [{group}], profiles: [{profile}]}}\n    memory: {random.randint(2, 24)}G\n    cpu: 4\n"
    if kind < 55:
        return f"{head}{{users: [{users}], profiles: [{profile}]}}\n    allow: true\n    quota: {{gpus: 2}}\n"
    if kind < 60:
        return f'{head}{{users: [{users}], profiles: ["gpu*"]}}\n    allow: false\n    message: "Write to the desk."\n'
    if kind < 72:
        day = random.randint(1, 20)
        window = f"from: 2026-11-{day:02}T08:00+01:00, until: 2026-11-{day + 8:02}T18:00+01:00"
        return f"{head}{{groups: [{group}], profiles: [cpu], {window}}}\n    pool: training\n    memory: 3G\n"
    if kind < 80:
        idle = f"{{cull_after: {number % 9 + 1}d}}"
        return f'{head}{{groups: ["{group[:-1]}*"], not: {{groups: ["@schools"]}}}}\n    idle: {idle}\n'
    if kind < 85:
        env = f'{{HINT_{number}: "{{username}} of {{primary_group}}"}}'
        return f'{head}{{users: ["user{number % 100:02}*"]}}\n    env: {env}\n'
    if kind < 90:
        return f'{head}{{groups: ["@experiments"], profiles: [cpu-large]}}\n    allow: true\n'
    if kind < 95:
        nots = f"[{{groups: [{group}]}}, {{users: [{users}]}}]"
        return f"{head}{{providers: [edugain], not: {nots}}}\n    idle: {{max_age: 7d}}\n"
    return f"{head}{{profiles: [{profile}], groups: [{group}]}}\n    mounts: [{{target: /sps/{other}, hide: true}}]\n"
