"""The shape of a code: what a check character catches, and what people may type."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.issuance.code import ALPHABET, check_character, draw_code, has_check, read_code, show_code

bodies = st.text(ALPHABET, min_size=15, max_size=15)


def whole(body: str) -> str:
    return body + check_character(body)


@given(bodies)
def test_every_wrong_character_is_caught(body: str) -> None:
    code = whole(body)
    for place, right in enumerate(code):
        for wrong in ALPHABET.replace(right, ""):
            assert not has_check(code[:place] + wrong + code[place + 1 :])


@given(bodies)
def test_every_swap_of_two_characters_is_caught(body: str) -> None:
    code = whole(body)
    for left, right in combinations(range(16), 2):
        if code[left] != code[right]:
            swapped = list(code)
            swapped[left], swapped[right] = swapped[right], swapped[left]
            assert not has_check("".join(swapped))


@given(bodies)
def test_people_may_type_it_in_many_ways(body: str) -> None:
    code = whole(body)
    shown = show_code(code)
    assert len(shown) == 19
    for typed in (shown, shown.lower(), f"  {shown.replace('-', ' ')} ", code.replace("0", "o").replace("1", "l")):
        assert read_code(typed) == code
    assert read_code(code.replace("0", "O").replace("1", "I")) == code


@pytest.mark.parametrize(
    "typed",
    ["", "-", "A" * 15, "A" * 17, "U" * 16, "0" * 15 + "1", "٠" * 16, "0" * 65, "0000-0000-0000-000!", "0\x00" * 8],
)
def test_what_is_no_code_is_a_typing_mistake(typed: str) -> None:
    assert read_code(typed) is None


def test_codes_are_drawn_from_the_whole_alphabet_and_differ() -> None:
    drawn = {draw_code() for _ in range(1_000)}
    assert len(drawn) == 1_000
    assert all(has_check(code) for code in drawn)
    assert all({code[place] for code in drawn} == set(ALPHABET) for place in range(16))


def test_all_but_one_of_32_random_inputs_are_refused_without_any_call() -> None:
    body = draw_code()[:15]
    assert sum(has_check(body + last) for last in ALPHABET) == 1
