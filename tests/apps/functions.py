"""WASM functions: the shipped ones, inline and in a process of its own, and those that a test has put in a folder."""

import os
from pathlib import Path

from gateway import Gateway
from gateway.contract.execution import Execution

SHIPPED = Path(__file__).parents[2] / "models/wasm"

app = Gateway(__name__)
app.add_wasm_route("/grayscale", SHIPPED / "grayscale.wasm")
app.add_wasm_route("/apart", SHIPPED / "grayscale.wasm", execution=Execution(processes=1))
for path in sorted(Path(os.environ["GATEWAY_TEST_FUNCTIONS"]).glob("*.wasm")):
    app.add_wasm_route(f"/{path.stem}", path)
    app.add_wasm_route(f"/{path.stem}-apart", path, execution=Execution(processes=1))
