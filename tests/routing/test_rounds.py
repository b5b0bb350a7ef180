"""Rounds under any order of arrivals, ends, judgements and deaths: every instance is taken in the end, and once."""

import secrets
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from gateway import Settings
from gateway.routing.judging import Judge
from gateway.routing.rules import Completeness, Rule, Sources
from gateway.studies import round_rows
from gateway.studies.arrival_rows import Sender
from gateway.studies.arriving import Arriving
from gateway.studies.round_rows import Round, RoundState
from gateway.studies.store import Store
from gateway.studies.uploads import InstanceUpload
from tests.dicom.studies import uid
from tests.studies.conftest import Clock
from tests.studies.files import files

STUDY = files(6)
RULES = (
    Rule("soon", "/lungs", Sources(callers=("*",)), completeness=Completeness(10, 50, association_end=True)),
    Rule("later", "/lungs", Sources(callers=("*",)), completeness=Completeness(30, 200)),
)
LEASE = 30.0


class Rounds(RuleBasedStateMachine):
    """One study of a new caller; ``store`` and ``clock`` are those of all."""

    store: Store
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self.caller, self.sent = secrets.token_hex(8), set[str]()
        self.arriving = Arriving(self.store)

    def sender(self, association: str) -> Sender:
        return Sender(f"{self.caller}-{association}", "CT1", self.caller)

    @rule(chosen=st.sets(st.integers(0, 5), min_size=1), association=st.sampled_from("ab"))
    def send(self, chosen: set[int], association: str) -> None:
        some = [STUDY[number] for number in sorted(chosen)]
        sender = self.sender(association)
        with InstanceUpload(self.store, self.caller, "fail", [one.entry for one in some], sender) as upload:
            for one in some:
                upload.begin()
                upload.write(one.data)
                upload.end()
            upload.keep()
        self.sent |= {one.entry.sha256 for one in some}

    @rule(association=st.sampled_from("ab"))
    def end(self, association: str) -> None:
        self.arriving.end(self.sender(association))

    @rule(seconds=st.sampled_from([1, 9, 10, 31, 60]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(holder=st.sampled_from(["one", "two"]))
    def judge(self, holder: str) -> None:
        self._judged(holder)

    def _judged(self, holder: str) -> bool:
        claimed = self._claim(holder)
        if claimed is not None:
            Judge(self.store, RULES, lambda _name, _study: -1, holder).judge(claimed)
        return claimed is not None

    @rule()
    def die(self) -> None:
        """A process claims a round, and is never seen again."""
        self._claim("dead")

    def _claim(self, holder: str) -> Round | None:
        with self.store.index.writing() as connection:
            return round_rows.claim(connection, holder, self.clock.now, LEASE)

    def rounds(self) -> list[Round]:
        with self.store.index.reading() as connection:
            return round_rows.of_study(connection, uid("study", "study"), self.caller)

    @invariant()
    def each_round_replaces_the_one_before(self) -> None:
        rounds = self.rounds()
        assert [(one.number, one.replaces) for one in rounds] == [(each + 1, each) for each in range(len(rounds))]
        assert all(one.state is RoundState.COMPLETE for one in rounds[:-1])

    @invariant()
    def no_rule_takes_the_same_instances_twice(self) -> None:
        taken = [(each.rule, frozenset(each.digests)) for one in self.rounds() for each in one.routings]
        assert len(set(taken)) == len(taken)

    def teardown(self) -> None:
        """Once all is quiet, each rule has taken everything, last of all."""
        for _ in range(20):
            self.clock.now += 300
            while self._judged("last"):
                pass
        for name in ("soon", "later") if self.sent else ():
            taken = [set(each.digests) for one in self.rounds() for each in one.routings if each.rule == name]
            assert taken[-1] == self.sent
            assert all(before < after for before, after in zip(taken, taken[1:], strict=False))


@pytest.mark.slow
def test_every_instance_is_taken_in_the_end_and_no_set_of_them_twice(tmp_path: Path) -> None:
    Rounds.clock = Clock()
    options = Settings(store_folder=tmp_path / "store", routing=tmp_path / "rules.toml", store_max_age=1e9)
    Rounds.store = Store.open(options, clock=Rounds.clock)
    try:
        run_state_machine_as_test(Rounds, settings=settings(max_examples=60, stateful_step_count=25, deadline=None))
    finally:
        Rounds.store.close()
