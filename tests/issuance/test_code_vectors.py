"""The published vectors of codes: twenty codes, how people type them, and what must be refused.

`python -m tests.issuance.test_code_vectors` writes docs/code_vectors.json anew.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from app.issuance.code import ALPHABET, RANDOM_LENGTH, check_character, read_code, show_code

DOCS = Path(__file__).parents[2] / "docs"
FILE = DOCS / "code_vectors.json"
ABOUT = (
    "Codes that every implementation must agree on; docs/codes.md says how the check character is made. None of them "
    "is a secret: fifteen bodies are the first 75 bits of SHA-256 of 'scrip code vector N', five are edges."
)
EDGES = ("000000000000000", "ZZZZZZZZZZZZZZZ", "100000000000000", "000000000000001", "0123456789ABCDE")


def bodies() -> list[str]:
    """Five edges, and fifteen that nobody chose."""
    return [*EDGES, *(_drawn(number) for number in range(1, 16))]


def vectors() -> dict[str, Any]:
    """What the file must say."""
    codes = [body + check_character(body) for body in bodies()]
    return {
        "about": ABOUT,
        "alphabet": ALPHABET,
        "codes": [{"code": code, "check": code[-1], "shown": show_code(code)} for code in codes],
        "typed": [{"typed": typed, "code": code} for typed, code in _typings(codes)],
        "wrong": [{"typed": typed, "why": why} for typed, why in _mistakes(codes[5:])],
    }


def _drawn(number: int) -> str:
    digest = hashlib.sha256(f"scrip code vector {number}".encode()).digest()
    bits = int.from_bytes(digest, "big") >> 256 - 5 * RANDOM_LENGTH
    return "".join(ALPHABET[bits >> 5 * place & 31] for place in reversed(range(RANDOM_LENGTH)))


def _typings(codes: list[str]) -> list[tuple[str, str]]:
    """What people do to a code that is right all the same."""
    looked_alike = {"0": "o", "1": "l"}
    first, second, third, fourth, fifth = codes[5:10]
    return [
        (first, first),
        (second.lower(), second),
        (show_code(third).replace("-", " "), third),
        (f"  {show_code(fourth).lower()} ", fourth),
        ("-".join(fifth), fifth),
        (codes[0].replace("0", "O"), codes[0]),
        ("".join(looked_alike.get(character, character) for character in codes[4]), codes[4]),
        (codes[2].replace("1", "I"), codes[2]),
    ]


def _mistakes(codes: list[str]) -> list[tuple[str, str]]:
    """What must be refused before anybody asks the service."""
    first, second, third, fourth, fifth = codes[:5]
    swapped = next(place for place in range(15) if second[place] != second[place + 1])
    wrong = ALPHABET[(ALPHABET.index(first[3]) + 1) % 32]
    return [
        (first[:3] + wrong + first[4:], "one character is wrong"),
        (second[:swapped] + second[swapped + 1] + second[swapped] + second[swapped + 2 :], "two neighbours swapped"),
        (third[8:12] + third[4:8] + third[:4] + third[12:], "two groups swapped"),
        (fourth[:-1], "one character is missing"),
        (fourth + "0", "one character too many"),
        (fifth[:-1] + "U", "U is not in the alphabet"),
        (fifth[:-1] + "\N{FULLWIDTH DIGIT ONE}", "a character outside ASCII, though it looks like a digit"),
        ("", "nothing"),
    ]


def test_the_published_vectors_are_those_of_the_code() -> None:
    assert json.loads(FILE.read_text(encoding="utf-8")) == vectors()


def test_there_are_twenty_different_codes() -> None:
    assert len({entry["code"] for entry in vectors()["codes"]}) == 20


@pytest.mark.parametrize("entry", vectors()["codes"], ids=lambda entry: str(entry["code"]))
def test_a_code_is_read_as_itself(entry: dict[str, str]) -> None:
    assert read_code(entry["code"]) == read_code(entry["shown"]) == entry["code"]


@pytest.mark.parametrize("entry", vectors()["typed"], ids=lambda entry: repr(entry["typed"]))
def test_what_people_type_is_read(entry: dict[str, str]) -> None:
    assert read_code(entry["typed"]) == entry["code"]


@pytest.mark.parametrize("entry", vectors()["wrong"], ids=lambda entry: str(entry["why"]))
def test_a_mistake_is_noticed(entry: dict[str, str]) -> None:
    assert read_code(entry["typed"]) is None


def test_the_page_shows_the_vectors_and_its_example_passes_them() -> None:
    """Who builds from the page alone gets it right: its Python is run against the whole file."""
    page = (DOCS / "codes.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert example is not None
    scope: dict[str, Any] = {}
    exec(example[1], scope)
    for entry in vectors()["codes"]:
        assert f"`{entry['shown']}`" in page
        assert scope["read_code"](entry["shown"]) == entry["code"]
    assert all(scope["read_code"](entry["typed"]) == entry["code"] for entry in vectors()["typed"])
    assert all(scope["read_code"](entry["typed"]) is None for entry in vectors()["wrong"])


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=2) + "\n", encoding="utf-8")
