"""What a refusal and a failure say to pages and scripts: sentence, what to do, nothing that a browser would run."""

from __future__ import annotations

import re

import pytest

from nbplatform_spawners.errors import REFUSALS, Refusal
from nbplatform_spawners.spawners.errors import HostFailed, ServerFailedError, SpawnRefused
from tests.house.pages import ROOT

HOSTILE = "<script>alert(1)</script> & 'x' \"y\" {support} {0} %s"


def table(page: str, title: str) -> dict[str, list[str]]:
    """The rows of a table of labels: label to the other cells."""
    text = (ROOT / page).read_text(encoding="utf-8").partition(title)[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[1:]]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_users_tutorial_has_the_pages_own_words() -> None:
    """One truth: what a page says after a refusal stands in the table that explains it."""
    told = {label: [kind.meaning, kind.advice.format(support="the support desk")] for label, kind in REFUSALS.items()}
    assert table("docs/tutorials/your-server.md", "| word | what it means | what you can do |\n") == told


def test_administrators_find_every_label() -> None:
    """The how-to on log messages has a row for each, with its status."""
    rows = table("docs/how-to/log-messages.md", "| label | status | cause | what to do |\n")
    assert {label: int(row[0]) for label, row in rows.items()} == {
        label: SpawnRefused(Refusal(label, "x")).status_code for label in REFUSALS
    }


@pytest.mark.parametrize("label", REFUSALS)
def test_a_refusal_says_what_to_do_in_text_and_in_html(label: str) -> None:
    """API, text and HTML begin with label and sentence and end with the advice, whom to ask filled in."""
    refused = SpawnRefused(Refusal(label, "this was not possible"), "Ada's desk")
    advice = REFUSALS[label].advice.format(support="Ada's desk")
    text = f"{label}: this was not possible. What you can do: {advice}."
    assert refused.message == refused.jupyterhub_message == text
    shown = re.sub(r"<[^>]+>", "", refused.jupyterhub_html_message).replace("&#x27;", "'")
    assert shown == text.replace("possible.", "possible")
    assert refused.headers == {"X-Nbplatform-Reason": label}


def test_a_label_of_a_later_release_has_no_advice_and_breaks_nothing() -> None:
    """A backend may know one more."""
    refused = SpawnRefused(Refusal("moon", "it is full"))
    assert refused.jupyterhub_message == "moon: it is full"
    assert "What you can do" not in refused.jupyterhub_html_message


# whom to ask, as the page shows it
CONTACTS = [
    ("the help desk", "the help desk"),
    ("support@example.org", '<a href="mailto:support@example.org">support@example.org</a>'),
    ("https://help.example.org/x?a=1&b=2", '<a href="https://help.example.org/x?a=1&amp;b=2">'),
    ("javascript:alert(1)", "javascript:alert(1)"),
    ("<b>us</b>", "&lt;b&gt;us&lt;/b&gt;"),
]


@pytest.mark.parametrize(("support", "html"), CONTACTS)
def test_whom_to_ask_is_a_link_where_it_is_an_address(support: str, html: str) -> None:
    """An e-mail address and a web address can be clicked, words stay words, markup is none."""
    refused = SpawnRefused(Refusal("not-allowed", "no"), support)
    assert html in refused.jupyterhub_html_message
    assert support in refused.jupyterhub_message


def test_a_failed_server_shows_the_end_of_its_log_apart() -> None:
    """The sentence, what to do, and the log in lines of its own; the hub's log has it, too."""
    failed = ServerFailedError("the server ended with 1", "one\ntwo\n")
    failed.support = "support@example.org"
    assert failed.jupyterhub_message.splitlines() == [
        "The server ended with 1. What you can do: start it again; if it fails again, send this page to"
        " support@example.org. Its log ends:",
        "one",
        "two",
    ]
    assert re.search(r'<pre class="nbplatform-log"[^>]*>one\ntwo</pre>', failed.jupyterhub_html_message)
    assert "mailto:support@example.org" in failed.jupyterhub_html_message
    assert "two" in str(failed)
    assert "<pre" not in ServerFailedError("its port was taken").jupyterhub_html_message


def test_a_failed_host_is_told_in_the_causes_own_words() -> None:
    """The hub's log has the sentence and the label, not how HTTP calls it."""
    said = "host cpu02 says no: no space left on device"
    assert str(HostFailed(ServerFailedError(said))) == said
    assert str(HostFailed(Refusal("unreachable", "host cpu02 cannot be asked"))) == (
        "unreachable: host cpu02 cannot be asked"
    )


def test_hostile_words_reach_no_browser() -> None:
    """Sentences hold what users asked for, logs what their programs wrote: all is text."""
    refused = SpawnRefused(Refusal("options", HOSTILE), HOSTILE)
    failed = ServerFailedError(HOSTILE, HOSTILE)
    for html in (refused.jupyterhub_html_message, failed.jupyterhub_html_message):
        assert "<script" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#x27;x&#x27; &quot;y&quot; {support} {0} %s" in html
    assert HOSTILE in str(failed)
    assert HOSTILE in str(refused)
