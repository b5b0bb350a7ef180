"""A service with one route for each wrapper beside it."""

from pathlib import Path

from gateway import Gateway

app = Gateway(__name__)
for path in sorted((Path(__file__).parent / "wrappers").glob("*.py")):
    app.add_wrapper_route(f"/{path.stem}", path)
