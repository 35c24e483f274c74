"""Substitution as Flux does it; the first part of the table is envsubst's own (eval_test.go, v1.5.0)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops.substitution import SubstitutionError, substitute

OTHER = {"other": "value"}
TABLE = [
    ({}, "abcdEFGH28ij", "abcdEFGH28ij"),
    ({"var01": "abcdEFGH28ij"}, "${#var01}", "12"),
    ({"var01": "abcdEFGH28ij"}, "${var01^}", "AbcdEFGH28ij"),
    ({"var01": "abcdEFGH28ij"}, "${var01^^}", "ABCDEFGH28IJ"),
    ({"var01": "ABCDEFGH28IJ"}, "${var01,}", "aBCDEFGH28IJ"),
    ({"var01": "ABCDEFGH28IJ"}, "${var01,,}", "abcdefgh28ij"),
    ({"path_name": "/home/bozo/ideas/thoughts.for.today"}, "${path_name:11}", "ideas/thoughts.for.today"),
    ({"path_name": "/home/bozo/ideas/thoughts.for.today"}, "${path_name:11:5}", "ideas"),
    ({"var": "abc"}, "${var=xyz}", "abc"),
    ({}, "${var=xyz}", "xyz"),
    ({"default_var": "foo"}, "something ${var=${default_var}}", "something foo"),
    ({"default_var": "foo1"}, "foo: ${var=${default_var}-suffix}", "foo: foo1-suffix"),
    ({"default_var": "foo1"}, "foo: ${var=prefix${default_var}-suffix}", "foo: prefixfoo1-suffix"),
    ({}, "${var:=xyz}", "xyz"),
    ({"stringZ": "abcABC123ABCabc"}, "${stringZ/%abc/XYZ}", "abcABC123ABCXYZ"),
    ({"stringZ": "abcABC123ABCabc"}, "${stringZ/#abc/XYZ}", "XYZABC123ABCabc"),
    ({"stringZ": "abcABC123ABCabc"}, "${stringZ//abc/xyz}", "xyzABC123ABCxyz"),
    ({"stringZ": "abcABC123ABCabc"}, "${stringZ/abc/xyz}", "xyzABC123ABCabc"),
    ({"filename": "bash.string.txt"}, "${filename#*.}", "string.txt"),
    ({"filename": "path/to/file"}, "${filename#*/}", "to/file"),
    ({"filename": "/path/to/file"}, "${filename#*/}", "path/to/file"),
    ({"filename": "bash.string.txt"}, "${filename##*.}", "txt"),
    ({"filename": "path/to/file"}, "${filename##*/}", "file"),
    ({"filename": "/path/to/file"}, "${filename##*/}", "file"),
    ({"filename": "bash.string.txt"}, "${filename%.*}", "bash.string"),
    ({"filename": "bash.string.txt"}, "${filename%%.*}", "bash"),
    ({"var01": "abcdEFGH28ij"}, "${var=${var01^^}}", "ABCDEFGH28IJ"),
    ({"var01": "abcdEFGH28ij"}, "$${var01}", "${var01}"),
    (
        {"var01": "abcdEFGH28ij"},
        "some text ${var01}$${var$${var01}$var01${var01}",
        "some text abcdEFGH28ij${var${var01}$var01abcdEFGH28ij",
    ),
    ({"default_var": "foo"}, "something $${var=${default_var}}", "something ${var=foo}"),
    ({"stringZ": "foo/bar"}, r"${stringZ/\//-}", "foo-bar"),
    ({"stringZ": "foo/bar/baz"}, r"${stringZ//\//-}", "foo-bar-baz"),
    ({"default_var": "foo"}, r"\\something ${var=${default_var}}", r"\\something foo"),
    ({"stringZ": "foo.bar"}, "${stringZ/./}", "foobar"),
    # Oddities that Flux has and a shell has not.
    ({"a": ""}, "${a:-d}${a:=d}${a:+d}${a:?d}", "dddd"),
    ({"a": "v"}, "${a:-d}${a:=d}${a:+d}${a:?d}", "vvvv"),
    ({"a": "v"}, "${a:-}${b:-}|", "v|"),
    ({"a": "l1\nl2"}, "${a}", "l1l2"),
    ({"a": "é"}, "${#a}", "2"),
    ({"a": "abc"}, "${a: -2}|${a:-2}|${a:9}|${a:1:9}|${a:1:1}", "abc|abc||bc|b"),
    ({"a": "v"}, "costs $5 and $$6 and $a", "costs $5 and $6 and $a"),
    ({"a": "v"}, "$", "$"),
    ({"a": "x.y"}, "${a%[xy]}${a#[a-x].}", "x.yy"),
]


@pytest.mark.parametrize(("variables", "text", "expected"), TABLE)
def test_the_text_becomes(variables: dict[str, str], text: str, expected: str) -> None:
    assert substitute(text, {**OTHER, **variables}).text == expected


def test_without_any_variable_nothing_is_touched() -> None:
    assert substitute("${a} $${b}", {}).text == "${a} $${b}"


def test_what_has_neither_value_nor_default_is_named() -> None:
    found = substitute("${a} ${b} ${c:-d} ${e/x/y} ${f:=${g}}", {"a": ""})
    assert found.unset == {"b", "e", "g"}
    assert found.used == {"a", "b", "c", "e", "f", "g"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${", "variable name"), ("${}", "variable name"), ("${a", "closing brace"), ("${a-d}", "closing brace"),
        ("${a:-d", "within function"), ("${a/b}", "bad substitution"), ("${#}", "bad substitution"),
        ("${a.b}", "closing brace"),
    ],
)  # fmt: skip
def test_what_cannot_be_parsed_is_refused(text: str, message: str) -> None:
    with pytest.raises(SubstitutionError, match=message):
        substitute(text, OTHER)


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(SubstitutionError, match="a-b"):
        substitute("$", {"a-b": "c"})


@given(st.text(alphabet=st.characters(exclude_characters="$")))
def test_text_without_a_dollar_stays(text: str) -> None:
    assert substitute(text, OTHER).text == text


@given(st.text())
def test_any_text_ends_in_a_result_or_an_error(text: str) -> None:
    with contextlib.suppress(SubstitutionError):
        substitute(text, OTHER)
