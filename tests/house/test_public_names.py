"""The public names: one list, which a type checker reads and the program follows."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import assert_type

import pytest

import gateway
from gateway import Batch, Cancelled, Client, Execution, Gateway, Mask, Settings, Volume, current_request
from gateway.app import Gateway as GatewayItself
from gateway.client import Client as ClientItself
from gateway.config import Settings as SettingsItself
from gateway.contract.execution import Batch as BatchItself
from gateway.contract.execution import Execution as ExecutionItself
from gateway.contract.findings import Mask as MaskItself
from gateway.contract.requests import Request
from gateway.dicom.volumes.study import Volume as VolumeItself
from gateway.errors import Cancelled as CancelledItself
from tests.house.imports import public_names

PUBLIC = public_names()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_the_object_of_its_home(name: str) -> None:
    assert getattr(gateway, name) is getattr(import_module(PUBLIC[name]), name)


def test_the_names_of_the_stub_are_all_public_names() -> None:
    assert sorted(PUBLIC) == vars(gateway)["__all__"]
    assert set(PUBLIC) <= set(dir(gateway))


def test_a_type_checker_sees_the_true_types() -> None:
    """``make types`` checks each of these; a name that is ``Any`` to a user fails there."""
    assert_type(Batch, type[BatchItself])
    assert_type(Cancelled, type[CancelledItself])
    assert_type(Client, type[ClientItself])
    assert_type(Execution, type[ExecutionItself])
    assert_type(Gateway, type[GatewayItself])
    assert_type(Mask, type[MaskItself])
    assert_type(Settings, type[SettingsItself])
    assert_type(Volume, type[VolumeItself])
    assert_type(current_request, Callable[[], Request])
    assert "gateway" in sys.modules


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        gateway.no_such_name  # type: ignore[attr-defined]  # noqa: B018
