"""The judgement of a round: which rules take its study, once it is complete for them."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from sqlalchemy import Connection

from gateway.errors import StudyNotFound
from gateway.routing.completing import ask_at, complete_at, peers_asked
from gateway.routing.rule_matching import RuleVerdict, StudySender, read_series, representatives, verdict
from gateway.routing.rules import Rule
from gateway.routing.study_contents import StudyContent, read_content
from gateway.studies import round_rows, routing_rows
from gateway.studies.granting import grant
from gateway.studies.round_rows import Round, RoundState, Statement
from gateway.studies.routing_rows import content_of
from gateway.studies.store import Store

logger = logging.getLogger("gateway")

AGAIN = "It took the same instances before."
GONE = "Its instances are not stored any more."

CountAsked = Callable[[str, str], int]
"""Returns the number of a study's instances at a peer, by its name; -1 where it does not say."""


class Judge:
    """Judges the rounds of one store by the rules."""

    def __init__(self, store: Store, rules: Sequence[Rule], count: CountAsked, holder: str) -> None:
        """``holder`` is the name by which this process claims rounds."""
        self._store, self._rules, self._count, self._holder = store, rules, count, holder

    def judge(self, claimed: Round) -> None:
        """Judge a claimed round for each rule for which it is complete, and give it back.

        Raises Unavailable, StorageFull; its lease then ends.
        """
        with self._store.index.reading() as connection:
            content = self._content(connection, claimed)
        arriving = self._ask(claimed, content)
        due = self._due(arriving, content)
        verdicts = self._verdicts(due, arriving, content) if due else []
        with self._store.index.writing() as connection:
            now, current = self._store.clock(), round_rows.held(connection, claimed.id, self._holder)
            if current is None:
                return
            if current.latest_at != arriving.latest_at or self._content(connection, current).digest != content.digest:
                round_rows.release(connection, claimed.id, self._holder, now)
                return
            words = {one.rule.name: self._take(connection, current, content, one, now) for one in verdicts}
            self._settle(connection, current, content, words)
        for name, word in words.items():
            logger.info("round %s, rule %s: %s", claimed.id, name, word or "taken")

    def _ask(self, arriving: Round, content: StudyContent) -> Round:
        """Ask peers for the number of instances, where rules wait for it; return the round with what they stated."""
        waiting = [rule.completeness for rule in self._rules if rule.name not in arriving.verdicts]
        stated, now = dict[str, Statement](), self._store.clock()
        for peer in peers_asked(waiting):
            moment = ask_at(peer, arriving, content.stored)
            if moment is not None and moment <= now:
                stated[peer] = Statement(count=self._count(peer, arriving.study_instance_uid), at=now)
        if not stated:
            return arriving
        with self._store.index.writing() as connection:
            round_rows.state_numbers(connection, arriving.id, {**arriving.stated, **stated})
            return round_rows.held(connection, arriving.id, self._holder) or arriving

    def _content(self, connection: Connection, arriving: Round) -> StudyContent:
        return read_content(connection, self._store, arriving.caller, arriving.study_instance_uid)

    def _due(self, arriving: Round, content: StudyContent) -> list[Rule]:
        """Return the rules that have not judged the round, and for which it is complete."""
        now = self._store.clock()
        waiting = (rule for rule in self._rules if rule.name not in arriving.verdicts)
        return [rule for rule in waiting if complete_at(rule.completeness, arriving, content.stored) <= now]

    def _verdicts(self, rules: Sequence[Rule], arriving: Round, content: StudyContent) -> list[RuleVerdict]:
        sender = StudySender(arriving.caller, tuple(title for title in arriving.senders if title))
        try:
            with ExitStack() as stack:
                opened = self._store.open_instances(representatives(content.instances), unchanged=True)
                series = read_series([stack.enter_context(file) for file in opened], rules)
        except StudyNotFound:
            return [RuleVerdict(rule, reason=GONE) for rule in rules]
        return [verdict(rule, sender, series) for rule in rules]

    def _take(
        self, connection: Connection, current: Round, content: StudyContent, found: RuleVerdict, now: float
    ) -> str:
        """Add the routing of a rule that takes the study; return why there is none, "" where there is."""
        if not found.taken:
            return found.reason
        rule, caller = found.rule, found.rule.caller or current.caller
        digests = [one.sha256 for one in content.instances if one.series_instance_uid in found.series]
        if routing_rows.known(connection, caller, rule.name, content_of(digests)):
            return AGAIN
        if caller != current.caller:
            grant(connection, current.caller, caller, digests, now)
        routing_rows.add(connection, current.id, caller, rule.name, digests, now)
        return ""

    def _settle(self, connection: Connection, current: Round, content: StudyContent, words: Mapping[str, str]) -> None:
        verdicts = {**current.verdicts, **words}
        waiting = [rule for rule in self._rules if rule.name not in verdicts]
        values = {"verdicts": round_rows.as_text(verdicts), "instances": len(content.instances)}
        if not waiting or not all(words.values()) or current.content:
            values["content"] = content.digest
        if not waiting:
            values["state"] = RoundState.COMPLETE.value
        moments = [complete_at(rule.completeness, current, content.stored) for rule in waiting]
        asked = (ask_at(peer, current, content.stored) for peer in peers_asked(rule.completeness for rule in waiting))
        moments += [moment for moment in asked if moment is not None]
        due_at = min(moments, default=current.due_at)
        round_rows.release(connection, current.id, self._holder, due_at, **values)
