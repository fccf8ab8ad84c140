"""The door to the service that gives tokens, against services that misbehave at the wire."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nbplatform_spawners.slurm_dask.certificates import make_certificate
from nbplatform_spawners.slurm_dask.errors import SlurmDaskError, SlurmRefused, SlurmUnavailable
from nbplatform_spawners.slurm_dask.rest import RestSlurm
from nbplatform_spawners.slurm_dask.token_api import MAX_ANSWER, TokenSource

HUB_TOKEN = "planted-token-of-the-server"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdW4iOiJhbGljZSJ9.c2lnbmF0dXJl"


class Service:
    """A service at the wire: answers each question with the next of its answers, the last one again and again.

    Attributes:
        answers: whole HTTP answers; None for silence.
        asked: head and body of every question.
    """

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.delay = 0.0
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Called for each connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = next(
                (int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:")), 0
            )
            self.asked.append(head + (await reader.readexactly(length)).decode())
            await asyncio.sleep(self.delay)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def serving(*answers: bytes | None, context: ssl.SSLContext | None = None) -> AsyncIterator[Service]:
    """Run a service."""
    service = Service(*answers)
    server = await asyncio.start_server(service.answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    service.url = f"{'https' if context else 'http'}://127.0.0.1:{port}/services/nbplatform-slurm/token"
    async with server:
        yield service


def http(status: int, body: bytes = b"", *headers: str) -> bytes:
    """Return an HTTP answer."""
    head = "\r\n".join((f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers))
    return f"{head}\r\n\r\n".encode() + body


def given(seconds: float = 600, **other: Any) -> bytes:
    """Return the answer of a well-behaved service."""
    end = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    return http(200, json.dumps({"token": JWT, "user": "alice", "expires_at": end, **other}).encode())


async def test_a_token_is_asked_for_once_while_it_is_good() -> None:
    """One question with the server's own token and an empty object; all who ask at once share its answer."""
    async with serving(given()) as service:
        source = TokenSource(service.url, HUB_TOKEN)
        service.delay = 0.1
        tokens = await asyncio.gather(*(source.token() for _ in range(5)))
        assert {(token.user, token.text) for token in tokens} == {("alice", JWT)}
        (asked,) = service.asked
        assert asked.startswith("POST /services/nbplatform-slurm/token HTTP/1.1\r\n")
        assert f"Authorization: token {HUB_TOKEN}\r\n" in asked
        assert asked.endswith("\r\n\r\n{}")
        assert JWT not in repr(tokens[0]) + repr(source)
        assert HUB_TOKEN not in repr(source)
        await source.close()


async def test_a_token_is_renewed_before_its_end() -> None:
    """One that ends within 30 seconds is used by who asked for it, and is not kept."""
    async with serving(given(29), given(), given()) as service:
        source = TokenSource(service.url, HUB_TOKEN)
        for count in (1, 2, 2):
            assert (await source.token()).text == JWT
            assert len(service.asked) == count
        await source.close()


async def test_a_token_that_slurm_did_not_take_is_asked_for_anew() -> None:
    """Dropped by who used it; one that was replaced already stays replaced."""
    async with serving(given(token="first"), given(token="second")) as service:
        source = TokenSource(service.url, HUB_TOKEN)
        first = await source.token()
        source.drop(first)
        assert (await source.token()).text == "second"
        source.drop(first)
        await source.token()
        assert len(service.asked) == 2
        await source.close()


REFUSALS = {
    "bad request": (http(400, b'{"message": "no name may be asked for"}'), SlurmRefused, "no name may be asked for"),
    "forbidden": (http(403, b'{"message": "not a server"}'), SlurmRefused, "not a server"),
    "unauthorised": (http(401), SlurmRefused, "restart your server"),
    "not there": (http(404, b"<html>"), SlurmUnavailable, "nothing gives tokens"),
    "error": (http(500, b"oops"), SlurmUnavailable, "status 500"),
    "unavailable": (http(503), SlurmUnavailable, "status 503"),
    "redirect": (http(302, b"", "Location: http://127.0.0.1:1/lure"), SlurmUnavailable, "leads elsewhere"),
    "tells the token": (http(403, json.dumps({"message": f"{HUB_TOKEN}\n\x1b[31m" + "x" * 9000}).encode()),
                        SlurmRefused, "[token]"),
    "huge": (http(200, b"x" * (MAX_ANSWER + 1)), SlurmUnavailable, "does not answer"),
    "hung": (None, SlurmUnavailable, "within 1 seconds"),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", SlurmUnavailable, "does not answer"),
    "cut short": (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", SlurmUnavailable, "does not answer"),
    "no JSON": (http(200, b"<html>"), SlurmUnavailable, "no JSON"),
    "a list": (http(200, b"[]"), SlurmUnavailable, "no JSON object"),
    "no token": (given(token=None), SlurmUnavailable, "'token'"),
    "a token of two lines": (given(token=f"{JWT}\r\nX-SLURM-USER-NAME: root"), SlurmUnavailable, "'token'"),
    "a token of two words": (given(token=f"{JWT} x"), SlurmUnavailable, "a space"),
    "somebody odd": (given(user="a\nb"), SlurmUnavailable, "'user'"),
    "no end": (given(expires_at=None), SlurmUnavailable, "'expires_at'"),
    "an odd end": (given(expires_at="tomorrow"), SlurmUnavailable, "'expires_at'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_service_that_misbehaves_is_an_error_in_words(case: str) -> None:
    """In time, in one bounded sentence, with neither token in it nor behind it; the next question is asked anew."""
    answer, kind, told = REFUSALS[case]
    async with serving(answer, given()) as service:
        source = TokenSource(service.url, HUB_TOKEN, timeout=1.0)
        with pytest.raises(SlurmDaskError) as error:
            await source.token()
        assert type(error.value) is kind
        said = str(error.value)
        assert told in said
        assert len(said) < 600
        assert "\n" not in said
        for secret in (HUB_TOKEN, JWT):
            assert secret not in said + repr(error.value.__context__) + repr(error.value.__cause__)
        assert (await source.token()).user == "alice"
        await source.close()


async def test_a_service_that_is_not_there_is_said() -> None:
    """Nobody listens: try again."""
    async with serving(given()) as service:
        url = service.url
    source = TokenSource(url, HUB_TOKEN, timeout=1.0)
    with pytest.raises(SlurmUnavailable, match="try again in a minute"):
        await source.token()
    await source.close()


async def test_it_is_asked_over_https_where_the_certificate_is_good(tmp_path: Path) -> None:
    """With the site's own authority it answers; without, no token is sent."""
    made = make_certificate("0123456789ab", datetime.now(UTC), 60)
    (tmp_path / "tls.pem").write_bytes(made.cert)
    (tmp_path / "tls.key").write_bytes(made.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "tls.pem", tmp_path / "tls.key")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "tls.pem"))
    trusting.check_hostname = False
    async with serving(given(), context=context) as service:
        source = TokenSource(service.url, HUB_TOKEN, timeout=2.0)
        with pytest.raises(SlurmUnavailable, match=r"(?i)certificate"):
            await source.token()
        assert service.asked == []
        good = TokenSource(service.url, HUB_TOKEN, timeout=2.0, ssl_options=trusting)
        assert (await good.token()).text == JWT
        for one in (source, good):
            await one.close()


@pytest.mark.parametrize(
    "url", ["", "hub/token", "ftp://hub/", "http://", "http://a:b@hub/", "http://hub/?token=x", "http://hub:0/",
            "http://hub/#x", "http://hub:99999/", "http://h\nub/"]
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Also one that would carry a secret; it is not repeated."""
    for make in (
        lambda: TokenSource(url, HUB_TOKEN),
        lambda: RestSlurm(url, TokenSource("http://hub/token", HUB_TOKEN)),
    ):
        with pytest.raises(ValueError, match="the address of") as error:
            make()
        assert "a:b" not in str(error.value)


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "ü"])
def test_a_hub_token_that_is_none_is_refused(token: str) -> None:
    """It goes into a header."""
    with pytest.raises(ValueError, match="printable ASCII"):
        TokenSource("http://hub/token", token)


CALLS: dict[str, Callable[[RestSlurm], Awaitable[object]]] = {
    "jobs": lambda door: door.jobs(),
    "cancel": lambda door: door.cancel(["1", "2", "3"]),
    "partitions": lambda door: door.partitions(),
}
DESCRIBED = http(200, json.dumps({"paths": {"/slurm/v0.0.38/jobs": {}}}).encode())
RESTD = {
    "redirect": (http(307, b"", "Location: http://127.0.0.1:1/lure"), "leads elsewhere"),
    "error": (http(500, b"oops"), "may not be slurmrestd"),
    "huge": (http(200, b"[" + b"1," * 40_000_000), "does not answer"),
    "hung": (None, "within 1"),
    "a list": (http(200, b"[1]"), "no JSON object"),
    "repeats the token": (http(200, JWT.encode()), "no JSON object"),
    "wrong types": (http(200, b'{"errors": 7}'), "errors"),
}


@pytest.mark.parametrize("case", RESTD)
@pytest.mark.parametrize("call", CALLS)
async def test_a_slurmrestd_that_misbehaves_is_an_error_in_words(call: str, case: str) -> None:
    """Whatever stands at the address: unavailable, in time, and without the token."""
    answer, told = RESTD[case]
    async with serving(given()) as service, serving(DESCRIBED, answer) as restd:
        door = RestSlurm(restd.url, TokenSource(service.url, HUB_TOKEN), 1.0)
        with pytest.raises(SlurmUnavailable) as error:
            await CALLS[call](door)
        assert told in str(error.value) or "does not answer" in str(error.value)
        assert JWT not in str(error.value) + repr(error.value.__context__)
        assert all(f"X-SLURM-USER-TOKEN: {JWT}".lower() in asked.lower() for asked in restd.asked)
        assert not any(JWT in asked.split("\r\n")[0] for asked in restd.asked)
        await door.close()


async def test_a_slurmrestd_that_is_too_old_or_new_is_said() -> None:
    """The versions that it has, and whom to tell."""
    described = http(200, json.dumps({"paths": {"/slurm/v0.0.36/jobs": {}}}).encode())
    async with serving(given()) as service, serving(described) as restd:
        door = RestSlurm(restd.url, TokenSource(service.url, HUB_TOKEN), 1.0, support="the desk")
        with pytest.raises(SlurmUnavailable, match=r"only v0.0.36: tell the desk"):
            await door.partitions()
        await door.close()
