"""The operator's file of rules: TOML with one table for each, checked as a whole before the gateway serves.

::

    [rules.lungs]
    titles = ["CT1", "CT2"]
    match = {Modality = "CT", SeriesDescription = ["*lung*", "*thorax*"]}
    model = "/lungs"
    parameters = {threshold = -500}
    destinations = ["pacs"]
    notice = "sr"
    quiet_seconds = 60
"""

import json
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from gateway.access.toml_tables import (
    AE_TITLE,
    NAMING,
    SECONDS,
    FileFaults,
    TomlTable,
    is_ae_title,
    is_flag,
    is_list_of,
    is_name,
    is_seconds,
    is_table,
    is_text,
    is_whole,
    read_toml,
)
from gateway.config import Settings
from gateway.contract.model import Model
from gateway.dicom.reading.keywords import MAX_CHARACTERS, comparable_text, fault_of
from gateway.peers.peers_file import read_peers
from gateway.routing.rule_models import model_faults, parameter_faults
from gateway.routing.rules import (
    CEILING_SECONDS,
    NOTICES,
    QUIET_SECONDS,
    RETRIES,
    RETRY_SECONDS,
    AttributeMatch,
    Completeness,
    Rule,
    Sources,
)

WHAT = "the file of rules"
NEEDS_STORE = "routing (GATEWAY_ROUTING) needs a study store: set store_folder (GATEWAY_STORE_FOLDER)."
MOST_RETRIES = 100
"""A model that fails as often does not recover by itself."""
TITLES = f"a list; each item is {AE_TITLE}, with * and ? for any"


@dataclass(frozen=True)
class Surroundings:
    """What rules may refer to: models by route and names of peers; None for what is not known here."""

    models: Mapping[str, Model] | None = None
    peers: Collection[str] | None = None


def rules_of(settings: Settings, models: Mapping[str, Model] | None) -> tuple[Rule, ...]:
    """Return the rules that the settings name, none without a file; ``models`` are those of the application, if known.

    Raises ValueError with a sentence for each fault, also of the file of peers.
    """
    if settings.routing is None:
        return ()
    if settings.store_folder is None:
        raise ValueError(NEEDS_STORE)
    peers = {} if settings.peers is None else read_peers(settings.peers)
    return read_rules(settings.routing, Surroundings(models, peers))


def read_rules(path: Path, surroundings: Surroundings) -> tuple[Rule, ...]:
    """Return the rules in the order of the file. Raises FileFaults, and ValueError where it cannot be read."""
    document = read_toml(path, WHAT)
    reader = _Reader(surroundings)
    rules = reader.rules(document)
    if path.stat().st_mode & stat.S_IWOTH:
        reader.faults.append("it may be written by every user: chmod 644.")
    if reader.faults:
        raise FileFaults(f"{path}, {WHAT}", reader.faults)
    return rules


@dataclass
class _Reader:
    surroundings: Surroundings
    faults: list[str] = field(default_factory=list)

    def rules(self, document: Mapping[str, Any]) -> tuple[Rule, ...]:
        top = TomlTable("the file", document, self.faults)
        tables = top.take("rules", {}, "tables, such as [rules.lungs]", is_table)
        top.end()
        if not tables and not self.faults:
            top.fault("it has no rule; begin one with [rules.NAME].")
        return tuple(self._rule(name, values) for name, values in tables.items())

    def _rule(self, name: str, values: Any) -> Rule:
        table = TomlTable(f"rules.{name}", values, self.faults)
        if not is_name(name):
            table.fault(f"a name has {NAMING}.")
        model, parameters = self._model(table)
        rule = Rule(
            name,
            model,
            self._sources(table),
            self._match(table),
            table.take("caller", "", f"a name: it has {NAMING}", is_name),
            parameters,
            self._completeness(table),
            self._destinations(table),
            table.take("notice", "none", f"one of {', '.join(NOTICES)}", lambda value: value in NOTICES),
            table.take("retries", RETRIES, f"a whole number from 0 to {MOST_RETRIES}", _is_number_of_retries),
            table.take("retry_seconds", RETRY_SECONDS, SECONDS, is_seconds),
        )
        table.end()
        return rule

    def _sources(self, table: TomlTable) -> Sources:
        titles = table.take("titles", [], TITLES, is_list_of(is_ae_title))
        callers = table.take("callers", [], "a list of names of callers, with * and ? for any", is_list_of(is_text))
        if not any(table.values.get(key) for key in ("titles", "callers")):
            table.fault('it needs titles, the AE titles that send, or callers, such as ["*"] for all.')
        return Sources(tuple(titles), tuple(callers))

    def _match(self, table: TomlTable) -> tuple[AttributeMatch, ...]:
        conditions = table.take("match", {}, 'a table, such as {Modality = "CT"}', is_table)
        inner = TomlTable(f"{table.place}.match", conditions, self.faults)
        found = []
        for keyword, value in _flat(conditions):
            values = value if isinstance(value, list) else [value]
            if sentence := fault_of(keyword):
                inner.fault(sentence)
            elif not values or not all(map(_is_value, values)):
                inner.fault(f"{keyword} should be text or a list of texts, without a backslash.")
            else:
                found.append(AttributeMatch(keyword, tuple(comparable_text(keyword, str(one)) for one in values)))
        return tuple(found)

    def _model(self, table: TomlTable) -> tuple[str, Mapping[str, Any]]:
        route = table.take("model", "", 'the route of a model, such as "/lungs"', is_text)
        parameters = table.take("parameters", {}, "a table of the model's parameters", is_table)
        table.require("model")
        if not _is_json(parameters):
            table.fault("parameters have a date, a time, infinity or nan, which JSON has not; write it as text.")
        elif route and self.surroundings.models is not None:
            self._check_model(table, route, parameters, self.surroundings.models)
        return route, parameters

    def _check_model(
        self, table: TomlTable, route: str, parameters: Mapping[str, Any], models: Mapping[str, Model]
    ) -> None:
        if route not in models:
            table.fault(f"there is no model on {route!r}{_near(route, models)}.")
            return
        for sentence in (*model_faults(models[route]), *parameter_faults(models[route], parameters)):
            table.fault(sentence)

    def _completeness(self, table: TomlTable) -> Completeness:
        found = Completeness(
            table.take("quiet_seconds", QUIET_SECONDS, SECONDS, is_seconds),
            table.take("ceiling_seconds", CEILING_SECONDS, SECONDS, is_seconds),
            table.take("association_end", False, "true or false", is_flag),
            table.take("count_from", "", "the name of a peer", is_name),
        )
        if found.ceiling_seconds < found.quiet_seconds:
            table.fault("ceiling_seconds is less than quiet_seconds.")
        if found.count_from:
            self._require_peer(table, "count_from", found.count_from)
        return found

    def _destinations(self, table: TomlTable) -> tuple[str, ...]:
        names = table.take("destinations", [], "a list of names of peers", is_list_of(is_name))
        for name in dict.fromkeys(names):
            self._require_peer(table, "destinations", name)
            if names.count(name) > 1:
                table.fault(f"destinations has {name!r} more than once.")
        return tuple(names)

    def _require_peer(self, table: TomlTable, key: str, name: str) -> None:
        peers = self.surroundings.peers
        if peers is not None and name not in peers:
            some = _near(name, peers) if peers else "; GATEWAY_PEERS names the file of peers"
            table.fault(f"{key}: there is no peer {name!r}{some}.")


def _near(word: str, known: Collection[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"; {near[0]!r} is one" if near else f"; there is {', '.join(map(repr, known)) or 'none'}"


def _is_number_of_retries(value: Any) -> bool:
    return is_whole(value, 0, MOST_RETRIES)


def _is_value(value: Any) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return True
    return isinstance(value, str) and len(value) <= MAX_CHARACTERS and "\\" not in value and value.strip() == value


def _flat(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys of a table and of those within, as TOML reads a key with dots that are not quoted."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
