"""Webhooks from registration to delivery: durable, repeated, leased to one process, and dead at last."""

import json
import threading

import pytest
from sqlalchemy import delete, update

from gateway import Settings
from gateway.delivery import webhook_rows
from gateway.delivery.pauses import pause
from gateway.delivery.webhooks import Webhooks
from gateway.errors import WebhookRefused
from gateway.studies.delivery_rows import DeliveryState
from gateway.studies.tables import runs
from gateway.studies.tables import webhooks as rows
from tests.delivery.conftest import Desk
from tests.delivery.receivers import Receiver, receiving
from tests.waiting import eventually

LEASE = Settings().run_lease


def submit(webhooks: Webhooks, key: str, url: str) -> None:
    """What a door does: check the URL, and register it with the run."""
    webhooks.register(key, webhooks.required(url))


def test_the_end_of_a_run_is_posted_and_holds_id_route_and_state_alone(desk: Desk, receiver: Receiver) -> None:
    webhooks = desk.open(receiver.origin)
    key = desk.run("scan-17", ended=False)
    submit(webhooks, key, f"{receiver.origin}/hook?token=1")
    assert webhooks.of(key) == {"state": "pending", "tries": 0, "outcome": ""}
    desk.clock.now += 10
    desk.end(key)
    webhooks.wake()
    eventually(lambda: desk.states() == [("delivered", 1, "status-204")])
    ((path, headers, body),) = receiver.received
    assert path == "/hook?token=1"
    assert json.loads(body) == {"id": "scan-17", "route": "/lungs", "state": "failed"}
    assert headers["Content-Type"] == "application/json"
    assert headers["webhook-id"] == desk.rows()[0].id
    assert headers["webhook-timestamp"] == str(int(desk.clock.now))
    eventually(lambda: desk.counted == ["delivered"])


def test_tries_that_nobody_finished_are_not_repeated_for_ever(desk: Desk, receiver: Receiver) -> None:
    webhooks = desk.open(receiver.origin)
    key = desk.run(ended=False)
    submit(webhooks, key, receiver.origin)
    with desk.store.index.writing() as connection:  # as after the ends of so many processes
        connection.execute(update(rows).values(tries=16))
    desk.end(key)
    webhooks.wake()
    eventually(lambda: desk.states() == [("dead", 17, "unfinished")])
    assert receiver.received == []


def test_a_failure_is_repeated_after_a_growing_pause_with_the_same_id(desk: Desk, receiver: Receiver) -> None:
    receiver.answers.extend([(500, {}), (302, {"Location": f"{receiver.origin}/x"})])
    webhooks = desk.open(receiver.origin)
    submit(webhooks, desk.run(), receiver.origin)
    eventually(lambda: desk.states() == [("pending", 1, "status-500")])
    first = desk.rows()[0].next_at - desk.clock.now
    desk.clock.now += first
    webhooks.wake()
    eventually(lambda: desk.states() == [("pending", 2, "status-302")])
    second = desk.rows()[0].next_at - desk.clock.now
    assert 3 < first < 7 < second < 26
    desk.clock.now += second - 0.5
    webhooks.wake()
    assert webhooks.age() == pytest.approx(first + second - 0.5)
    assert len(receiver.received) == 2
    desk.clock.now += 1
    webhooks.wake()
    eventually(lambda: desk.states() == [("delivered", 3, "status-204")])
    assert len({headers["webhook-id"] for _, headers, _ in receiver.received}) == 1
    eventually(lambda: desk.counted == ["retried", "retried", "delivered"])
    assert webhooks.age() == 0


def test_a_webhook_is_dead_after_the_last_try_and_revived_with_all_its_tries(desk: Desk, receiver: Receiver) -> None:
    receiver.answers.extend([(500, {}), (503, {"Retry-After": "9999"})])
    webhooks = desk.open(receiver.origin, webhook_tries=2, webhook_longest_pause=60.0)
    submit(webhooks, desk.run(), receiver.origin)
    eventually(lambda: desk.states() == [("pending", 1, "status-500")])
    desk.clock.now += 60
    webhooks.wake()
    eventually(lambda: desk.states() == [("dead", 2, "status-503")])
    with desk.store.index.writing() as connection:
        assert [each.outcome for each in webhook_rows.listed(connection, DeliveryState.DEAD, 10)] == ["status-503"]
        assert webhook_rows.revive(connection, ["msg_other"], desk.clock.now) == 0
        assert webhook_rows.revive(connection, None, desk.clock.now) == 1
    webhooks.wake()
    eventually(lambda: desk.states() == [("delivered", 1, "status-204")])


def test_a_receiver_that_is_gone_gets_no_more(desk: Desk, receiver: Receiver) -> None:
    receiver.answers.append((410, {}))
    submit(desk.open(receiver.origin), desk.run(), receiver.origin)
    eventually(lambda: desk.states() == [("dead", 1, "status-410")])


def test_couriers_of_several_processes_deliver_each_webhook_once(desk: Desk, receiver: Receiver) -> None:
    with receiving() as other:
        couriers = [desk.open(receiver.origin, other.origin) for _ in range(3)]
        for number in range(12):
            submit(couriers[number % 3], desk.run(f"run-{number}"), (receiver, other)[number % 2].origin)
        eventually(lambda: {state for state, _, _ in desk.states()} == {"delivered"})
        ids = [body["id"] for body in (*receiver.bodies, *other.bodies)]
    assert sorted(ids) == sorted(f"run-{number}" for number in range(12))


def test_a_slow_receiver_delays_no_other(desk: Desk, receiver: Receiver) -> None:
    receiver.gate.clear()
    with receiving() as other:
        webhooks = desk.open(receiver.origin, other.origin)
        for origin in (receiver.origin, receiver.origin, other.origin, other.origin):
            submit(webhooks, desk.run(), origin)
        eventually(lambda: len(other.received) == 2)
        assert len(receiver.received) == 1
    receiver.gate.set()
    eventually(lambda: len(receiver.received) == 2)


def test_a_try_that_nobody_finished_is_repeated_after_its_lease(desk: Desk, receiver: Receiver) -> None:
    key = desk.run("scan-17")
    with desk.store.index.writing() as connection:
        webhook_rows.register(connection, key, receiver.origin, receiver.origin, desk.clock.now)
        lost = webhook_rows.claim(connection, desk.clock.now, LEASE, ())
        assert lost is not None
        assert webhook_rows.claim(connection, desk.clock.now, LEASE, ()) is None
    desk.clock.now += LEASE
    desk.open(receiver.origin)
    eventually(lambda: desk.states() == [("delivered", 2, "status-204")])
    with desk.store.index.writing() as connection:
        webhook_rows.settle(connection, lost, DeliveryState.DEAD, "timeout", 0)
    assert desk.states() == [("delivered", 2, "status-204")]


def test_the_first_webhook_of_a_run_stays(desk: Desk, receiver: Receiver) -> None:
    webhooks = desk.open(receiver.origin)
    key = desk.run(ended=False)
    for path in ("/first", "/second"):
        submit(webhooks, key, receiver.origin + path)
    assert [row.url for row in desk.rows()] == [f"{receiver.origin}/first"]


def test_a_forgotten_run_takes_its_webhook_with_it(desk: Desk, receiver: Receiver) -> None:
    key = desk.run(ended=False)
    submit(desk.open(receiver.origin), key, receiver.origin)
    with desk.store.index.writing() as connection:
        connection.execute(delete(runs).where(runs.c.key == key))
    assert desk.rows() == []


def test_an_origin_that_is_not_allowed_any_more_gets_nothing(desk: Desk, receiver: Receiver) -> None:
    key = desk.run()
    with desk.store.index.writing() as connection:
        webhook_rows.register(connection, key, receiver.origin, receiver.origin, desk.clock.now)
    desk.open("https://hooks.example.org")
    eventually(lambda: desk.states() == [("dead", 1, "origin-not-allowed")])
    assert receiver.received == []


def test_a_name_that_leads_to_this_machine_gets_nothing(desk: Desk, receiver: Receiver) -> None:
    name = f"http://localhost:{receiver.port}"
    submit(desk.open(name), desk.run(), name)
    eventually(lambda: desk.states() == [("pending", 1, "address-forbidden")])
    assert receiver.received == []


def test_nothing_is_sent_unsigned(desk: Desk, receiver: Receiver) -> None:
    webhooks = desk.open(receiver.origin)
    for path in desk.folder.glob("secrets-*"):
        path.write_text("")
    submit(webhooks, desk.run(), receiver.origin)
    eventually(lambda: desk.states() == [("pending", 1, "no-secret")])
    assert receiver.received == []


@pytest.mark.parametrize(
    "url", ["https://other.example/", "http://hooks.example.org/", "https://hooks.example.org:444/"]
)
def test_a_url_of_another_origin_is_refused_when_it_is_submitted(desk: Desk, url: str) -> None:
    webhooks = desk.open("https://hooks.example.org")
    with pytest.raises(WebhookRefused):
        webhooks.required(url)
    assert webhooks.required("") is None
    webhooks.register("no run", None)


def test_without_allowed_origins_every_url_is_refused(desk: Desk) -> None:
    webhooks = Webhooks(Settings(), desk.store.index, desk.counted.append)
    with pytest.raises(WebhookRefused, match="GATEWAY_WEBHOOK_ORIGINS"):
        webhooks.required("https://hooks.example.org/")


def test_an_allowed_origin_without_a_secret_is_refused_at_the_start(desk: Desk) -> None:
    with pytest.raises(ValueError, match="GATEWAY_WEBHOOK_SECRETS_FILE"):
        Webhooks(Settings(webhook_origins="https://hooks.example.org"), desk.store.index, desk.counted.append)


def test_no_url_and_no_secret_is_logged(desk: Desk, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.answers.append((500, {}))
    caplog.set_level("DEBUG", logger="gateway")
    submit(desk.open(receiver.origin), desk.run("planted-name"), f"{receiver.origin}/planted-path?planted=token")
    eventually(lambda: desk.counted == ["retried"])
    eventually(lambda: "webhook retried" in caplog.text)
    assert "planted" not in caplog.text
    assert receiver.origin not in caplog.text


@pytest.mark.parametrize(
    ("tries", "longest", "hours"),
    [
        (Settings.webhook_tries, Settings.webhook_longest_pause, 40),
        (Settings.delivery_tries, Settings.delivery_longest_pause, 65),
    ],
)
def test_pauses_grow_to_the_longest_and_cover_a_weekend(tries: int, longest: float, hours: int) -> None:
    pauses = [pause(number, longest) for number in range(1, tries)]
    assert all(seconds <= longest * 1.25 for seconds in pauses)
    assert pauses[0] < pauses[1] < pauses[2] < pauses[3]
    assert sum(pauses) > hours * 3600
    assert pause(1, longest, retry_after=600) == 600
    assert pause(1, 60, retry_after=3600) == 60
    assert len({pause(1, longest) for _ in range(9)}) > 1


def test_a_stopping_process_finishes_the_try_in_flight(desk: Desk, receiver: Receiver) -> None:
    receiver.gate.clear()
    webhooks = desk.open(receiver.origin)
    submit(webhooks, desk.run(), receiver.origin)
    eventually(lambda: receiver.received)
    closing = threading.Thread(target=webhooks.close)
    closing.start()
    receiver.gate.set()
    closing.join()
    assert desk.states() == [("delivered", 1, "status-204")]


def test_a_process_that_can_start_no_thread_delivers_later(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, failed = threading.Thread.start, list[str]()

    def scarce(thread: threading.Thread) -> None:
        if thread.name == "gateway-webhook" and not failed:
            failed.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    webhooks = desk.open(receiver.origin)
    submit(webhooks, desk.run(), receiver.origin)
    eventually(lambda: failed)
    desk.clock.now += LEASE
    webhooks.wake()
    eventually(lambda: desk.states() == [("delivered", 2, "status-204")])
