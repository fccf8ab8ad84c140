#!/opt/nbplatform/bin/python
"""Check an image from the inside, as the ordinary user that notebook servers run as.

    docker run --rm --user 61001:61001 --cap-drop ALL --security-opt no-new-privileges \
        --read-only --tmpfs /tmp --network none IMAGE verify [NAME==VERSION...]

It needs no network and no hub: a stand-in for the hub runs inside.  Every check runs, also behind one that fails.
Exit status: 0 when all passed, 1 when one failed, 2 when it cannot check as this user.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import secrets
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ENVIRONMENT = Path(sys.prefix)
PREFIX = "/user/verify/"
START_LIMIT = 120.0
CELL_LIMIT = 120.0
READABLE = ("passwd", "group", "hosts", "resolv.conf", "nsswitch.conf")
SCRATCH = ("/tmp", "/var/tmp", "/dev", "/proc", "/sys", "/run/lock")  # noqa: S108  named, not used
COMMAND = ENVIRONMENT / "bin" / "nbplatform-singleuser"
TROUBLE = (OSError, ValueError, LookupError, ImportError, subprocess.SubprocessError)
CELL = "import os; print('answer', 6 * 7, os.getuid())"


class Failed(Exception):
    """A check failed; the message says what is wrong."""


def versions(wanted: list[str]) -> str:
    """Check that packages fit each other and that those named have the named version."""
    for name in ("jupyterhub", "jupyterlab", "ipykernel", "nbplatform-spawners"):
        importlib.metadata.version(name)  # raises where it is missing
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(done.stdout.strip() or done.stderr.strip())
    for entry in wanted:
        name, _, version = entry.partition("==")
        found = importlib.metadata.version(name)
        if found != version:
            raise Failed(f"{name} is {found}, wanted is {version}")
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jupyterhub", "nbplatform-spawners"))


def command() -> str:
    """Check that the server's command is found and starts."""
    done = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise Failed(f"{COMMAND} --version: {done.stderr.strip()[-500:]}")
    return f"nbplatform-singleuser {done.stdout.strip()}"


def system_files() -> str:
    """Check that every user can read what resolving of names needs."""
    unreadable = [name for name in READABLE if Path("/etc", name).exists() and not os.access(f"/etc/{name}", os.R_OK)]
    if not os.access("/etc", os.R_OK | os.X_OK) or unreadable:
        raise Failed(f"not readable for everyone: /etc {' '.join(unreadable)}")
    return "/etc is readable"


def compiled() -> str:
    """Check that everything Python imports is compiled: this user could not write the compiled files."""
    count = 0
    library = Path(sysconfig.get_path("stdlib"))
    for source in (*ENVIRONMENT.glob("lib/python*/site-packages/**/*.py"), *library.glob("**/*.py")):
        count += 1
        if Path(importlib.util.cache_from_source(str(source))).exists():
            continue
        with contextlib.suppress(SyntaxError, UnicodeDecodeError, ValueError):  # a template, not a module
            compile(source.read_bytes(), source, "exec", dont_inherit=True)
            raise Failed(f"{source} is not compiled")
    if not count:
        raise Failed(f"there are no modules below {ENVIRONMENT}")
    return f"{count} modules are compiled"


def writable() -> str:
    """Check that this user can change nothing but scratch folders, whatever the root is mounted as."""
    own, groups, found, count = os.getuid(), {os.getgid(), *os.getgroups()}, [], 0
    allowed = {*SCRATCH, os.path.realpath(os.environ.get("HOME", "/"))} - {"/"}
    for folder, folders, files in os.walk("/"):
        top = folder.rstrip("/")
        folders[:] = [name for name in folders if f"{top}/{name}" not in allowed]
        for name in (*folders, *files):
            path = f"{top}/{name}"
            with contextlib.suppress(OSError):
                status = os.lstat(path)
                count += 1
                if not stat.S_ISLNK(status.st_mode) and can_change(status, own, groups):
                    found.append(path)
    if found:
        raise Failed(f"an ordinary user can change {len(found)} files or folders: {', '.join(found[:10])}")
    return f"{count} files and folders, none to be changed"


def can_change(status: os.stat_result, own: int, groups: set[int]) -> bool:
    """Whether a file's owner and mode let a user write to it; an owner can always give himself the right."""
    if status.st_uid == own:
        return True
    return bool(status.st_mode & (stat.S_IWGRP if status.st_gid in groups else stat.S_IWOTH))


class Hub(ThreadingHTTPServer):
    """As much of a hub as a server asks for when it starts and when someone shows a token."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.token = secrets.token_hex(16)


class HubHandler(BaseHTTPRequestHandler):
    """Answers for the hub."""

    server: Hub

    def do_GET(self) -> None:
        """Answer with the version, or with the user that the token belongs to."""
        if self.path.rstrip("/").endswith("/hub/api/user"):
            known = self.headers.get("Authorization", "") == f"token {self.server.token}"
            scope = "access:servers!server=verify/"
            user = {"kind": "user", "name": "verify", "admin": False, "groups": [], "scopes": [scope]}
            self.reply(200 if known else 403, user if known else {})
        else:
            self.reply(200, {"version": importlib.metadata.version("jupyterhub")})

    def do_POST(self) -> None:
        """Take note of activity."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.reply(200, {})

    def reply(self, code: int, body: object) -> None:
        """Send JSON."""
        content = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("X-JupyterHub-Version", importlib.metadata.version("jupyterhub"))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def server() -> str:
    """Check that a server starts, answers, and runs a cell in a kernel."""
    began = time.monotonic()
    with running_server() as (address, token):
        ready = time.monotonic() - began
        name = ask(address, token, "api/kernels", {"name": "python3"})["id"]
        output = run_cell(address, token, str(name))
    if output != f"answer 42 {os.getuid()}\n":
        raise Failed(f"the cell's output is {output!r}")
    return f"answers after {ready:.1f} s, a kernel runs a cell"


@contextlib.contextmanager
def running_server() -> Iterator[tuple[str, str]]:
    """Start a server below a stand-in for the hub; gives its address and a token that it accepts."""
    hub = Hub()
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}{PREFIX}"
    with tempfile.TemporaryDirectory() as home, Path(home, "log").open("w") as log:
        environment = {**os.environ, "HOME": home, **hub_environment(hub, f"http://{address}")}
        process = subprocess.Popen([COMMAND], env=environment, cwd=home, stdout=log, stderr=log)  # noqa: S603
        try:
            wait_until_it_answers(f"http://{address}api", process, Path(home, "log"))
            yield address, hub.token
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
            hub.shutdown()
            hub.server_close()


def hub_environment(hub: Hub, url: str) -> dict[str, str]:
    """Return what a hub tells its servers."""
    return {
        "JUPYTERHUB_SERVICE_URL": url,
        "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
        "JUPYTERHUB_API_URL": f"http://127.0.0.1:{hub.server_port}/hub/api",
        "JUPYTERHUB_ACTIVITY_URL": f"http://127.0.0.1:{hub.server_port}/hub/api/users/verify/activity",
        "JUPYTERHUB_API_TOKEN": hub.token,
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-verify",
        "JUPYTERHUB_USER": "verify",
        "JUPYTERHUB_SERVER_NAME": "",
        "JUPYTERHUB_DISABLE_USER_CONFIG": "1",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps(["access:servers!server=verify/"]),
    }


def wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server says its version."""
    limit = time.monotonic() + START_LIMIT
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        with contextlib.suppress(OSError):
            if re.fullmatch(r"\d+\.\d+.*", json.load(opener.open(url, timeout=10))["version"]):
                return
        if process.poll() is not None or time.monotonic() > limit:
            raise Failed(f"the server does not answer:\n{log.read_text()[-3000:]}")
        time.sleep(0.05)


def ask(address: str, token: str, path: str, body: object) -> dict[str, object]:
    """Post to the server's API."""
    headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{address}{path}", json.dumps(body).encode(), headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        answer: dict[str, object] = json.load(opener.open(request, timeout=START_LIMIT))
    except urllib.error.HTTPError as error:
        raise Failed(f"{path} answers {error.code}: {error.read(500)!r}") from None
    return answer


def run_cell(address: str, token: str, kernel: str) -> str:
    """Run the cell over the kernel's WebSocket and return what it prints."""
    import websocket  # comes with the server; its absence is one check's failure

    header = {"msg_id": secrets.token_hex(8), "msg_type": "execute_request", "username": "", "session": "verify"}
    message = {"header": {**header, "version": "5.3"}, "parent_header": {}, "metadata": {}, "channel": "shell"}
    message["content"] = {"code": CELL, "silent": False, "store_history": False, "allow_stdin": False}
    url = f"ws://{address}api/kernels/{kernel}/channels"
    credentials = {"Authorization": f"token {token}"}
    output, limit = "", time.monotonic() + CELL_LIMIT
    try:
        with contextlib.closing(websocket.create_connection(url, header=credentials, timeout=CELL_LIMIT)) as channel:
            channel.send(json.dumps(message))
            while time.monotonic() < limit:
                answer = json.loads(channel.recv())
                if answer.get("parent_header", {}).get("msg_id") != header["msg_id"]:
                    continue
                if answer["msg_type"] == "stream":
                    output += answer["content"]["text"]
                if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                    return output
    except websocket.WebSocketException as problem:
        raise Failed(f"the kernel's channel: {problem}") from None
    raise Failed("the kernel does not answer")


def main(wanted: list[str]) -> int:
    """Run all checks and say how each ended."""
    if os.getuid() == 0:
        sys.stderr.write("verify: run it as an ordinary user: docker run --user 61001:61001 ...\n")
        return 2
    checks: dict[str, Callable[[], str]] = {
        "versions": lambda: versions(wanted),
        "command": command,
        "system files": system_files,
        "compiled": compiled,
        "writable": writable,
        "server": server,
    }
    failed = 0
    for name, check in checks.items():
        try:
            line = f"ok      {name}: {check()}"
        except Failed as problem:
            failed += 1
            line = f"FAILED  {name}: {problem}"
        except TROUBLE:
            failed += 1
            line = f"FAILED  {name}: {traceback.format_exc()}"
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
