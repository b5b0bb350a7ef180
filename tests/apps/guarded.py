"""A service that authenticates its callers, served by the tests under real gunicorn and configured by GATEWAY_*."""

import logging
import time
from pathlib import Path

import flask

from gateway import Gateway
from gateway.endpoints.access_control import caller, may_see_reasons, requires

logging.basicConfig(level=logging.INFO)
app = Gateway(__name__)


def echo(json_input, files, digest):
    """Count the files of the request, once the named file exists."""
    while not Path(json_input.get("until", "/")).exists():
        time.sleep(0.01)
    return {"study_ml_json": {"files": len(files)}}, []


app.add_inference_route("/echo", echo)
app.add_inference_route("/other", echo)


@app.before_request
def hooked():
    """A hook of the service's own, which must not see a refused caller."""
    flask.current_app.logger.warning("HOOKED %s", flask.request.path)


@app.errorhandler(Exception)
def handled(_error):
    """An error handler of the service's own, which must not see the gateway's refusals."""
    return "the service's own", 500


@app.get("/who")
def who():
    """Name the caller and its rights."""
    sender = caller()
    return {"name": sender.name if sender else None, "reasons": may_see_reasons()}


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
