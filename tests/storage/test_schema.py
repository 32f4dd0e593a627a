from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import pytest

from pyg_graphadapter.storage import Length, OneOf, SchemaError, Within, checked


@dataclass(frozen=True)
class Inner:
    label: Annotated[int, Within(0, 9)]
    kind: Annotated[str, OneOf(("a", "b"))] = "a"


@dataclass(frozen=True)
class Content:
    FORMATS: ClassVar[tuple[str, ...]] = ()
    name: Annotated[str, Length(1, 5)]
    rows: tuple[tuple[str, int], ...] = ()
    inner: Inner | None = None
    shares: dict[str, Annotated[float, Within(0, 1)]] = field(default_factory=dict)
    mode: Literal["honest", "paper"] = "honest"
    label: str | int = ""
    flag: bool = False
    more: Any = None


def test_tables_become_dataclasses():
    content = checked(
        {
            "name": "é",
            "rows": [["a", 1], ["b", 2]],
            "inner": {"label": 9, "kind": "b", "unknown": 1},
            "shares": {"x": 1},
            "mode": "paper",
            "label": 3,
            "flag": True,
            "more": {"a": [None, 1.5, "b", True]},
        },
        Content,
    )
    assert content == Content(
        "é", (("a", 1), ("b", 2)), Inner(9, "b"), {"x": 1.0}, "paper", 3, True,
        {"a": [None, 1.5, "b", True]},
    )  # fmt: skip
    assert checked({"name": "a"}, Content) == Content("a")


def nested(depth):
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": None}, r"'name' must be text \(got None\)"),
        ({"name": ""}, r"'name' must be 1 to 5 long \(got ''\)"),
        ({"name": "x" * 999}, r"'name' must be 1 to 5 long \(got 'x{59}…\)"),
        ({"rows": "ab"}, r"'rows' must be a list \(got 'ab'\)"),
        ({"rows": [["a", 1], ["b"]]}, r"'rows'\[1\] must be a list of 2 \(got \['b'\]\)"),
        ({"rows": [["a", 1.0]]}, r"'rows'\[0\]\[1\] must be a whole number \(got 1.0\)"),
        ({"rows": [["a", True]]}, r"'rows'\[0\]\[1\] must be a whole number \(got True\)"),
        ({"rows": [["a", 2**63]]}, r"at most 64 bits \(got 9223372036854775808\)"),
        ({"rows": [["a", 10**4000]]}, r"at most 64 bits \(got a whole number of \d+ digits\)"),
        ({"inner": {}}, r"'inner' must be a table with the entry 'label' \(got nothing\)"),
        ({"inner": {"label": 10}}, r"'inner'.label must be between 0 and 9 \(got 10\)"),
        ({"inner": {"label": 1, "kind": "c"}}, r"'inner'.kind must be one of 'a', 'b'"),
        ({"inner": [1] * 9}, r"'inner' must be a table \(got a list of 9 entries\)"),
        ({"shares": {"x": float("nan")}}, r"'shares'.x must be a finite number \(got nan\)"),
        ({"shares": {"x": float("inf")}}, r"'shares'.x must be a finite number \(got inf\)"),
        ({"shares": {"x": 10**400}}, "must be a finite number"),
        ({"shares": {"x": -0.1}}, r"'shares'.x must be between 0 and 1 \(got -0.1\)"),
        ({"shares": {"x": "1"}}, r"'shares'.x must be a number \(got '1'\)"),
        ({"shares": []}, r"'shares' must be a table \(got \[\]\)"),
        ({"mode": "x"}, r"'mode' must be one of 'honest', 'paper' \(got 'x'\)"),
        ({"label": 1.5}, r"'label' must be text or a whole number \(got 1.5\)"),
        ({"flag": 1}, r"'flag' must be true or false \(got 1\)"),
        ({"more": nested(40)}, "nested at most 32 deep"),
        ({"more": [float("inf")]}, r"'more'\[0\] must be a finite number"),
    ],
)
def test_what_does_not_fit_is_named(changed, message):
    with pytest.raises(SchemaError, match=message):
        checked({"name": "a", **changed}, Content)


@pytest.mark.parametrize("value", [None, [], "a", 1])
def test_content_that_is_no_table(value):
    with pytest.raises(SchemaError, match="its content must be a table"):
        checked(value, Content)
