"""Lines of problems: of every kind the first ones, and how many more there are."""

from __future__ import annotations

import pytest

from freeseg.data.problems import EXAMPLES, DataError, Problems, RefusalError


@pytest.mark.parametrize("count", [1, EXAMPLES - 1, EXAMPLES, EXAMPLES + 1, EXAMPLES + 9])
@pytest.mark.parametrize("is_error", [True, False])
def test_a_rest_is_told_of_from_one_more_than_the_limit_on(count, is_error):
    problems = Problems()
    add = problems.error if is_error else problems.warn
    for number in range(count):
        add("odd", f"line {number}")
    add("even", " other \n line ")
    expected = [f"line {number}" for number in range(min(count, EXAMPLES))]
    if count > EXAMPLES:
        expected.append(f"... and {count - EXAMPLES} more of this kind (odd)")
    expected.append("other line")
    assert (problems.errors, problems.warnings) == ((expected, []) if is_error else ([], expected))
    assert problems.num_errors == (count + 1 if is_error else 0)


def test_what_others_have_collected_joins_its_kind_and_stays_with_them():
    one, other = Problems(), Problems()
    one.error("a", "1")
    one.warn("w", "2")
    other.error("b", "3")
    other.error("a", "4")
    other.warn("w", "5")
    one.extend(other)
    one.error("b", "6")
    assert (one.errors, one.warnings, one.num_errors) == (["1", "4", "3", "6"], ["2", "5"], 4)
    assert (other.errors, other.warnings, other.num_errors) == (["3", "4"], ["5"], 2)


@pytest.mark.parametrize(
    "kind", [ValueError, TypeError, OSError, NotImplementedError, RefusalError]
)
def test_errors_about_data_are_collected_and_the_block_may_be_used_again(kind):
    problems = Problems()
    collecting = problems.collecting("rows")
    for number in range(2):
        with collecting:
            raise kind([f"row {number}"] if kind is RefusalError else f"row {number}")
        with collecting:
            pass
    assert problems.errors == ["row 0", "row 1"]


def test_only_errors_are_raised_and_each_is_a_line():
    problems = Problems()
    problems.warn("w", "a warning")
    problems.raise_errors()
    problems.error("a", "one")
    problems.error("b", "two")
    with pytest.raises(DataError) as raised:
        problems.raise_errors()
    assert (str(raised.value), raised.value.problems) == ("one\ntwo", ("one", "two"))
    assert raised.value.is_about_data
    assert isinstance(raised.value, (RefusalError, ValueError))
