"""A code is read as docs/codes.md says, without any call, and is shown by nothing but `reveal`."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.issuance import code as issued
from scrip_sdk import Code, CodeMistyped
from scrip_sdk.code import read_code

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "docs" / "code_vectors.json").read_text())
RIGHT = [(each["shown"], each["code"]) for each in VECTORS["codes"]]
RIGHT += [(each["typed"], each["code"]) for each in VECTORS["typed"]]


@pytest.mark.parametrize("typed,code", RIGHT)
def test_a_code_is_read_however_it_is_typed(typed: str, code: str) -> None:
    assert Code(typed).reveal() == code


@pytest.mark.parametrize("typed", [each["typed"] for each in VECTORS["wrong"]])
def test_a_mistake_is_found(typed: str) -> None:
    with pytest.raises(CodeMistyped) as raised:
        Code(typed)
    assert (raised.value.slug, raised.value.status, raised.value.worth_repeating) == ("code-mistyped", None, False)


@given(st.text() | st.text(alphabet=issued.ALPHABET + "OIL -", min_size=14, max_size=20))
def test_every_text_is_read_as_the_service_reads_it(typed: str) -> None:
    assert read_code(typed) == issued.read_code(typed)


def test_a_code_reveals_itself_nowhere() -> None:
    text = issued.draw_code()
    code = Code(text)
    shown = [
        repr(code),
        str(code),
        f"{code}",
        f"{code!r:>30}",
        "".join(map(str, [code])),
        repr([code]),
        repr({"code": code}),
    ]
    assert all(text not in each for each in shown)
    assert repr(code) == "Code(…)"
    assert not hasattr(code, "__dict__")


def test_a_code_is_not_pickled_and_a_copy_is_itself() -> None:
    code = Code(issued.draw_code())
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="never pickled"):
            pickle.dumps({"job": [code]}, protocol)
    with pytest.raises(TypeError):
        json.dumps(code)
    assert copy.copy(code) is code and copy.deepcopy([code])[0] is code
    with pytest.raises(TypeError):
        hash(code)


def test_codes_are_compared_by_what_they_are() -> None:
    text = issued.draw_code()
    assert Code(text) == Code(text.lower())
    assert Code(text) != Code(issued.draw_code())
    assert Code(text) != text
