"""Between its bounds the number of replicas follows what waits, and neither a burst nor a pause moves it at once."""

from gateway.executors.replicas import Replicas, Start, Stop
from gateway.executors.scaling import DOWN_SECONDS, UP_SECONDS, Scaling


def test_another_replica_starts_once_calls_have_waited_while_all_are_busy() -> None:
    scaling = Scaling(1, 3)
    assert scaling.wanted(10.0, pending=1, running=1, serving=1) == 1
    assert scaling.wanted(10.0 + UP_SECONDS, pending=1, running=1, serving=1) == 2
    assert scaling.wanted(20.0, pending=9, running=1, serving=1) == 2  # the second is still starting
    assert scaling.wanted(30.0, pending=9, running=2, serving=2) == 2
    assert scaling.wanted(30.0 + UP_SECONDS, pending=9, running=2, serving=2) == 3
    assert scaling.wanted(40.0, pending=9, running=3, serving=3) == 3
    assert scaling.wanted(50.0, pending=9, running=3, serving=3) == 3  # the most


def test_a_burst_that_is_over_starts_none() -> None:
    scaling = Scaling(1, 3)
    assert scaling.wanted(10.0, pending=1, running=1, serving=1) == 1
    assert scaling.wanted(10.5, pending=0, running=1, serving=1) == 1
    assert scaling.wanted(10.0 + UP_SECONDS, pending=1, running=1, serving=1) == 1


def test_replicas_end_one_by_one_down_to_the_least_once_they_were_spare_for_long() -> None:
    scaling = Scaling(1, 3, target=3)
    assert scaling.wanted(10.0, pending=0, running=1, serving=3) == 3
    assert scaling.wanted(10.0 + DOWN_SECONDS, pending=0, running=1, serving=3) == 2
    assert scaling.wanted(100.0, pending=0, running=0, serving=2) == 2
    assert scaling.wanted(100.0 + DOWN_SECONDS, pending=0, running=0, serving=2) == 1
    assert scaling.wanted(500.0, pending=0, running=0, serving=1) == 1
    assert scaling.wanted(900.0, pending=0, running=0, serving=1) == 1


def test_a_model_with_more_replicas_than_its_least_stays_ready_while_one_starts_and_one_ends() -> None:
    replicas = Replicas(1, cooldown=30.0)
    for order in replicas.plan(0.0):
        replicas.ready(order.number)
    replicas.wanted = 2
    (start,) = replicas.plan(1.0)
    assert isinstance(start, Start)
    assert replicas.state(1.0) == ("ready", "")
    replicas.ready(start.number)
    replicas.wanted = 1
    assert replicas.plan(2.0) == [Stop(1)]
    assert replicas.state(2.0) == ("ready", "")
    assert replicas.plan(2.0) == []
