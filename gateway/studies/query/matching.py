"""Values of a query as conditions on the tables (PS3.4 C.2.2.2)."""

import re
from collections.abc import Callable

from sqlalchemy import ColumnElement, FromClause, and_, func, or_

from gateway.dicom.web.comparing import DATE, TIME, composed, earliest, folded_name, latest, name_columns, whole_number
from gateway.dicom.web.query_attributes import MAX_VALUE_CHARACTERS, Matching, QueryAttribute
from gateway.errors import QueryRefused
from gateway.studies.manifests import is_uid

MAX_WILDCARDS = 4
"""Asterisks in a value: each one more multiplies the time of a comparison by the length of the text."""
MAX_UIDS = 1_000
"""UIDs of a list, as many as values in one statement of the store."""
_LAST = "\U0010ffff"
"""The code point after which no text continues."""
_ANY_AT_END = re.compile(r"(\^\*++)+$")
_SEPARATOR = re.compile(r"[\\,]")

Columns = FromClause
Conditions = ColumnElement[bool]


class Matcher:
    """Makes conditions for one kind of database, ``dialect`` as SQLAlchemy names it."""

    def __init__(self, dialect: str) -> None:
        self._glob = dialect == "sqlite"

    def condition(self, attribute: QueryAttribute, value: str, table: Columns) -> Conditions | None:
        """Return the condition on rows of ``table``; None for a value that matches all. Raises QueryRefused."""
        if len(value) > MAX_VALUE_CHARACTERS and attribute.matching != Matching.UID:
            raise QueryRefused(f"The value of {attribute.keyword} has more than {MAX_VALUE_CHARACTERS} characters.")
        if not value.strip("* ") or (attribute.matching == Matching.NAME and not value.strip("*^= ")):
            return None
        return _RULES[attribute.matching](self, attribute, value, table)

    def text(self, attribute: QueryAttribute, value: str, table: Columns) -> Conditions:
        """Match wildcards, with case."""
        return self._like(attribute, table.c[attribute.column], composed(value).strip(" "))

    def words(self, attribute: QueryAttribute, value: str, table: Columns) -> Conditions:
        """Match wildcards without the case of ASCII; databases differ in what they fold beyond it."""
        folded = composed(value).strip(" ").lower()
        column = func.lower(table.c[attribute.column])
        return or_(self.text(attribute, value, table), self._like(attribute, column, folded))

    def listed(self, attribute: QueryAttribute, value: str, table: Columns) -> Conditions:
        """Match any of several texts."""
        parts = [part for part in _SEPARATOR.split(value) if part.strip()]
        if not parts:
            raise QueryRefused(f"{attribute.keyword} takes values with commas between.")
        return or_(*(self.text(attribute, part, table) for part in parts))

    def any_item(self, attribute: QueryAttribute, value: str, table: Columns) -> Conditions:
        """Match the value of any item of a sequence, which the column has between backslashes."""
        return self._like(attribute, table.c[attribute.column], f"*\\{composed(value).strip(' ')}\\*", extra=2)

    def name(self, attribute: QueryAttribute, value: str, table: Columns) -> Conditions:
        """Match one component group of a name, whichever it is; several groups match each its own."""
        columns = [table.c[column] for column in name_columns(attribute)]
        groups = [folded_name(group) for group in value.split("=")]
        if len(groups) > len(columns):
            raise QueryRefused(f"The value of {attribute.keyword} has more than three component groups (PS3.5 6.2.1).")
        if len(groups) == 1:
            return or_(*(self._group(attribute, column, groups[0]) for column in columns))
        pairs = zip(columns, groups, strict=False)
        return and_(*(self._group(attribute, column, group) for column, group in pairs if group))

    def _group(self, attribute: QueryAttribute, column: ColumnElement[str], group: str) -> Conditions:
        """Match a component group; components of any value at its end may be absent, as empty ones are not stored."""
        shorter = _ANY_AT_END.sub("", group)
        forms = (group, shorter) if shorter != group else (group,)
        return or_(*(self._like(attribute, column, form) for form in forms))

    def _like(self, attribute: QueryAttribute, column: ColumnElement[str], text: str, extra: int = 0) -> Conditions:
        text = re.sub(r"\*+", "*", text)
        if text.count("*") > MAX_WILDCARDS + extra:
            raise QueryRefused(f"The value of {attribute.keyword} has more than {MAX_WILDCARDS} asterisks.")
        start = re.split(r"[*?]", text, maxsplit=1)[0]
        if start == text:
            return column == text
        begins = [column >= start, column < start + _LAST] if start else []
        return and_(*begins, self._pattern(column, text))

    def _pattern(self, column: ColumnElement[str], text: str) -> Conditions:
        if self._glob:
            return column.op("GLOB", is_comparison=True)(text.replace("[", "[[]"))
        escaped = re.sub(r"([\\%_])", r"\\\1", text).replace("*", "%").replace("?", "_")
        return column.like(escaped, escape="\\")


def _uids(_matcher: Matcher, attribute: QueryAttribute, value: str, table: Columns) -> Conditions:
    uids = _SEPARATOR.split(value)
    if len(uids) > MAX_UIDS or not all(map(is_uid, uids)):
        raise QueryRefused(f"{attribute.keyword} takes up to {MAX_UIDS} UIDs with commas between (PS3.5 9.1).")
    return table.c[attribute.column].in_(uids)


def _number(_matcher: Matcher, attribute: QueryAttribute, value: str, table: Columns) -> Conditions:
    number = whole_number(value.strip(" "))
    if not number:
        raise QueryRefused(f"{attribute.keyword} takes a whole number.")
    return table.c[attribute.column] == number


def _date(_matcher: Matcher, attribute: QueryAttribute, value: str, table: Columns) -> Conditions:
    first, last = _range(attribute, value, DATE, "YYYYMMDD, or two with a hyphen between")
    return _between(table.c[attribute.column], first, last)


def _time(_matcher: Matcher, attribute: QueryAttribute, value: str, table: Columns) -> Conditions:
    first, last = _range(attribute, value, TIME, "HHMMSS.FFFFFF or its beginning, or two with a hyphen between")
    return _between(table.c[attribute.column], first and earliest(first), last and latest(last))


def _range(attribute: QueryAttribute, value: str, form: re.Pattern[str], words: str) -> tuple[str, str]:
    """Return the two ends of a range, "" for one that is open."""
    first, hyphen, last = value.strip(" ").partition("-")
    if not hyphen:
        last = first
    if not all(form.fullmatch(end) for end in (first, last) if end) or not (first or last):
        raise QueryRefused(f"{attribute.keyword} takes {words}.")
    return first, last


def _between(column: ColumnElement[str], first: str, last: str) -> Conditions:
    """Both ends included; an instance without a value is in no range."""
    if first and first == last:
        return column == first
    return and_(column >= (first or "0"), *([column <= last] if last else []))


_RULES: dict[Matching, Callable[[Matcher, QueryAttribute, str, Columns], Conditions]] = {
    Matching.UID: _uids,
    Matching.TEXT: Matcher.text,
    Matching.WORDS: Matcher.words,
    Matching.LIST: Matcher.listed,
    Matching.NAME: Matcher.name,
    Matching.DATE: _date,
    Matching.TIME: _time,
    Matching.ANY: Matcher.any_item,
    Matching.NUMBER: _number,
}
