"""A service that asks its callers who they are, served by the tests under real gunicorn; GATEWAY_* says how."""

import logging
import time
from pathlib import Path

import flask

from gateway import Gateway
from gateway.endpoints.access_control import caller, may_see_reasons, requires

logging.basicConfig(level=logging.INFO)
app = Gateway(__name__)


def echo(json_input, files, digest):
    """Say how many files arrived, once the file named is there."""
    while not Path(json_input.get("until", "/")).exists():
        time.sleep(0.01)
    return {"study_ml_json": {"files": len(files)}}, []


app.add_inference_route("/echo", echo)
app.add_inference_route("/other", echo)


@app.before_request
def hooked():
    """A hook of the service's own, which is to see nobody who may not come in."""
    flask.current_app.logger.warning("HOOKED %s", flask.request.path)


@app.errorhandler(Exception)
def handled(_error):
    """An error handler of the service's own, which is not to be asked about what the gateway refuses."""
    return "the service's own", 500


@app.get("/who")
def who():
    """Who asks, and what they may see."""
    one = caller()
    return {"name": one.name if one else None, "reasons": may_see_reasons()}


@app.get("/healthcheck")
def healthcheck():
    """The same, on a rule that is open."""
    return who()


@app.get("/page")
def page():
    """A page with a script of its own."""
    return "<script>1</script>"


@app.delete("/kept")
@requires("delete")
def forget():
    """Only for a caller with the role."""
    return flask.Response(status=204)


@app.post("/admin")
@requires("admin")
def administer():
    """Only for an admin."""
    return flask.Response(status=204)
