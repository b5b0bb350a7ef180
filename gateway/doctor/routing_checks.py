"""Checks of routing: the file of rules, alone and with an application's models, and the senders that it names."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from gateway.config import Settings
from gateway.contract.model import Model
from gateway.dimse.known_titles import KnownTitles
from gateway.doctor.diagnoses import Diagnosis, Level
from gateway.peers.peer_entries import PeerEntry
from gateway.peers.peers_file import read_peers
from gateway.routing.rule_matching import StudySender, is_from
from gateway.routing.rules import Rule, Sources
from gateway.routing.rules_file import rules_of

REMEDY = "Correct the file of rules: python -m gateway routing check names each fault."


def routing(own: Settings, models: Mapping[str, Model] | None = None) -> Diagnosis:
    """Read the file of rules, and compare its AE titles with those that may store."""
    try:
        rules = rules_of(own, models)
    except ValueError as error:
        return Diagnosis("routing", Level.FAIL, str(error), REMEDY)
    strangers = [] if own.dimse_titles_file is None else sorted(_strangers(rules, own.dimse_titles_file))
    if strangers:
        text = f"No AE title that may store is like {', '.join(strangers)}, which rules name."
        return Diagnosis("routing", Level.WARN, text, "Correct the titles of the rules, or the file of AE titles.")
    names = ", ".join(rule.name for rule in rules)
    return Diagnosis("routing", Level.OK, f"Rules: {names}{'; their models are known' if models is not None else ''}.")


def sources(own: Settings) -> Diagnosis:
    """Name the AE titles that may store, and those among them that are peers, whose own checks ask them by C-ECHO."""
    if own.dimse_titles_file is None:
        return Diagnosis("sources", Level.OK, "Off: there is no file of AE titles.")
    try:
        known = KnownTitles(own.dimse_titles_file).all()
    except (OSError, ValueError) as error:
        remedy = "Correct the file of AE titles: until then nobody is admitted."
        return Diagnosis("sources", Level.FAIL, str(error), remedy)
    storing = [f"{title} for {entry.caller}" for title, entry in known.items() if "store" in entry.may]
    if not storing:
        remedy = 'Give one of them may = ["store"] in the file of AE titles.'
        return Diagnosis("sources", Level.WARN, "No AE title may store.", remedy)
    peers = {entry.dimse.aet: name for name, entry in _peers(own).items() if entry.dimse is not None}
    asked = [f"{title} as {peers[title]}" for title in known if title in peers]
    text = f"May store: {', '.join(storing)}. Asked as peers: {', '.join(asked) or 'none'}."
    return Diagnosis("sources", Level.OK, text)


def _peers(own: Settings) -> Mapping[str, PeerEntry]:
    try:
        return read_peers(own.peers) if own.peers else {}
    except ValueError:  # the check of the peers tells
        return {}


def _strangers(rules: Iterable[Rule], file: Path) -> set[str]:
    """Return the titles of rules that are nobody's who may store; none where the file cannot be read."""
    try:
        known = KnownTitles(file).all()
    except (OSError, ValueError):  # the check of the folders, or the start of dimse, tells
        return set()
    senders = [StudySender("", (title,)) for title, entry in known.items() if "store" in entry.may]
    named = {title for rule in rules for title in rule.sources.titles}
    return {title for title in named if not any(is_from(sender, Sources((title,))) for sender in senders)}
