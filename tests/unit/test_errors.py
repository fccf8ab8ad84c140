"""The family of errors."""

import pickle

import pytest

from nbplatform_spawners.errors import BadFile, DirectoryUnavailable, Mistake, NbplatformError, Refusal


def test_a_refusal_has_a_label_for_machines_and_a_sentence_for_people() -> None:
    """The label is stable; the text starts with it."""
    refusal = Refusal("quota", "you hold 3 and ask for 1 more")
    assert (refusal.reason, refusal.message) == ("quota", "you hold 3 and ask for 1 more")
    assert str(refusal) == "quota: you hold 3 and ask for 1 more"


@pytest.mark.parametrize("label", ["error", "timeout"])
def test_a_refusal_takes_no_label_of_the_hub(label: str) -> None:
    """JupyterHub uses these two itself: a page could not tell them apart."""
    with pytest.raises(ValueError, match=f"'{label}' belongs to JupyterHub"):
        Refusal(label, "x")


MISTAKES = {
    "with a line": (Mistake("a.yaml", 3, "unknown key"), "a.yaml:3: unknown key"),
    "of the whole file": (Mistake("a.yaml", 0, "is empty"), "a.yaml: is empty"),
}


@pytest.mark.parametrize(("mistake", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_reads_as_an_editor_expects(mistake: Mistake, text: str) -> None:
    """One a line as ``file:line: message``; without a line where the file as a whole is meant."""
    assert str(mistake) == text


def test_a_bad_file_carries_all_mistakes_in_order() -> None:
    """By file and line, whatever order they were found in, one a line."""
    found = [Mistake("b.yaml", 1, "x"), Mistake("a.yaml", 10, "y"), Mistake("a.yaml", 9, "z")]
    error = BadFile(found)
    assert error.mistakes == (found[2], found[1], found[0])
    assert str(error) == "a.yaml:9: z\na.yaml:10: y\nb.yaml:1: x"
    assert found[0].file == "b.yaml"


ERRORS = {
    "refusal": Refusal("account", "it ended"),
    "bad file": BadFile([Mistake("a.yaml", 1, "x")]),
    "directory": DirectoryUnavailable("no answer in 5 s"),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_errors_are_one_family_and_survive_a_copy(error: NbplatformError) -> None:
    """One ``except`` catches them all; a copy from another process says the same."""
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, NbplatformError)
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
