"""Checks of the address to listen on."""

import errno
import http.client
import socket

from gateway.doctor.diagnoses import Diagnosis, Level
from gateway.doctor.plan import Plan

GREETING = b"inference-service is up and accepting connections"
"""The response of a gateway on /ping; a constant here, since Flask may be missing."""
REMEDIES = {
    errno.EADDRINUSE: "Stop what listens there (ss -ltnp names it), or choose another port.",
    errno.EACCES: "Choose a port from 1024 on, or grant CAP_NET_BIND_SERVICE.",
    errno.EADDRNOTAVAIL: "Choose an address of this machine, or 0.0.0.0 for all.",
}


def port(plan: Plan) -> Diagnosis:
    """Check that the port of the plan is free, by listening as gunicorn would."""
    address = f"{plan.host}, port {plan.port}"
    try:
        listen(plan.host, plan.port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and is_gateway(plan.host, plan.port):
            remedy = "Choose another port, unless that gateway is the one to check."
            return Diagnosis("port", Level.WARN, f"{address}: a gateway answers there already.", remedy)
        remedy = REMEDIES.get(error.errno or 0, "Choose another address or port.")
        return Diagnosis("port", Level.FAIL, f"{address}: {error.strerror or 'this address cannot be used'}.", remedy)
    return Diagnosis("port", Level.OK, f"{address} is free." if plan.port else f"{plan.host}, any free port.")


def listen(host: str, number: int) -> None:
    """Listen for a moment. Raises OSError where that fails."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore TIME_WAIT of a stopped server
        listener.bind((host, number))
        listener.listen(1)


def is_gateway(host: str, number: int) -> bool:
    """Return True if the listener there greets as a gateway does."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    connection = http.client.HTTPConnection(address, number, timeout=2)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().read(len(GREETING)) == GREETING
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
