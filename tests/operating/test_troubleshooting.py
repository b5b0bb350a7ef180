"""Every problem of the gateway has its row among the symptoms, with its status."""

from gateway import errors
from tests.house.pages import ROOT, rows
from tests.house.test_docs import leaves


def test_every_code_of_a_problem_has_a_row_with_its_status() -> None:
    table = {(code.strip("`"), int(status)) for code, status, _, _ in rows(ROOT / "docs/troubleshooting.md", "code")}
    assert table == {(leaf.code, leaf.status) for leaf in leaves(errors.GatewayError)}
