"""A service with answers that wait for lines, which another request adds. It has one worker."""

import os
import threading
from collections import defaultdict
from collections.abc import Callable

import flask

from gateway import Gateway
from gateway.endpoints import waiting

END = b"end"
PIECE = 4

app = Gateway(__name__)
lines: dict[str, list[bytes]] = defaultdict(list)
wakers: dict[str, list[Callable[[], None]]] = defaultdict(list)


class Lines:
    """The lines under one name; the line ``end`` ends them."""

    caller = ""

    def __init__(self, key):
        self.key = key

    def read(self, after):
        if (lines[self.key] or [b""])[-1] == b"break":
            raise ValueError("broken")
        new = lines[self.key][after : after + PIECE]
        return waiting.Piece(b"".join(line + b"\n" for line in new), after + len(new), END in new)

    def watch(self, wake):
        wakers[self.key].append(wake)
        return lambda: wakers[self.key].remove(wake)


class Silent(Lines):
    """The same, whose lines are not sent."""

    def read(self, after):
        piece = super().read(after)
        return waiting.Piece(b"", piece.after, piece.ended)


@app.post("/lines/<name>")
def add(name):
    lines[name] += flask.request.get_data().splitlines()
    for wake in list(wakers[name]):
        wake()
    return {"watched": len(wakers[name])}


@app.get("/lines/<name>")
def stream(name):
    return waiting.stream(Lines(name), int(flask.request.args.get("after", 0)), begun=b"begun\n")


@app.get("/last/<name>")
def last(name):
    seconds = float(flask.request.args.get("wait", 600))
    return waiting.defer(Silent(name), 0, seconds, lambda: flask.jsonify(lines=len(lines[name]), pid=os.getpid()))


@app.get("/state")
def state():
    return {"threads": threading.active_count(), "watched": sum(map(len, wakers.values()))}
