import math
from dataclasses import dataclass, fields

import pytest

from pyg_graphadapter.settings import check_setting_names, check_settings, setting, unknown


@dataclass(frozen=True)
class Config:
    rate: float = setting(0.5, "a fraction", low=0, high=1)
    count: int = setting(3, "a number", low=1)
    limit: int | None = setting(None, "a number or nothing", low=1)
    kind: str = setting("a", "a name", choices=("a", "b"))
    seed: int = setting(-7, "any number")

    def __post_init__(self):
        check_settings(self)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"rate": 0},
        {"rate": 1.0},
        {"count": 1},
        {"count": 10**9},
        {"limit": 1},
        {"limit": None},
        {"kind": "b"},
        {"seed": -(10**9)},
    ],
)
def test_values_within_the_bounds_are_kept(settings):
    config = Config(**settings)
    assert {name: getattr(config, name) for name in settings} == settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 1.5}, r"'rate' must be between 0 and 1 \(got 1.5\)"),
        ({"rate": -0.1}, r"'rate' must be between 0 and 1 \(got -0.1\)"),
        ({"rate": math.nan}, r"'rate' must be a finite number \(got nan\)"),
        ({"rate": math.inf}, r"'rate' must be a finite number \(got inf\)"),
        ({"rate": True}, r"'rate' must be a number \(got True\)"),
        ({"rate": "0.5"}, r"'rate' must be a number \(got '0.5'\)"),
        ({"seed": 2**64}, r"'seed' must be less than 2\*\*63 \(got 18446744073709551616\)"),
        ({"seed": "1"}, r"'seed' must be a whole number \(got '1'\)"),
        ({"kind": ["a"]}, r"Unknown 'kind': \['a'\]"),
        ({"count": 0}, r"'count' must be at least 1 \(got 0\)"),
        ({"count": math.nan}, r"'count' must be a whole number \(got nan\)"),
        ({"count": 1.5}, r"'count' must be a whole number \(got 1.5\)"),
        ({"limit": 2.0}, r"'limit' must be a whole number \(got 2.0\)"),
        ({"limit": 0}, r"'limit' must be at least 1 \(got 0\)"),
        ({"kind": "c"}, r"Unknown 'kind': 'c'. Choose from a, b\."),
        ({"kind": None}, r"Unknown 'kind': None. Choose from a, b\."),
    ],
)
def test_values_out_of_bounds_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)


@pytest.mark.parametrize("value", [None, "0.5"])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="'rate' must be a number"):
        Config(rate=value)


def test_a_setting_carries_what_the_command_line_shows():
    rate, count, *_ = fields(Config)
    assert rate.default == 0.5
    assert rate.metadata == {"help": "a fraction", "low": 0, "high": 1, "choices": None}
    assert count.metadata["high"] is None


def test_unknown_lists_the_choices():
    assert str(unknown("method", "x", {"a": 1, "b": 2})) == "Unknown method 'x'. Choose from a, b."


def test_settings_that_a_method_does_not_have_are_refused():
    check_setting_names("mine", Config, ["rate", "seed"])
    with pytest.raises(
        ValueError, match=r"^The method mine has no setting 'x'. Choose from rate, count, limit"
    ):
        check_setting_names("mine", Config, ["rate", "x"])

    @dataclass(frozen=True)
    class Empty:
        pass

    with pytest.raises(ValueError, match=r"^The method mine has no setting 'x'. It has none.$"):
        check_setting_names("mine", Empty, ["x"])
