"""A typed model that needs no memory of its own but its mask, to size the gateway around it."""

from gateway import Gateway, Mask, Volume

app = Gateway(__name__)
ROUTE = "/dense"


@app.model(ROUTE)
def dense(ct: Volume) -> Mask:
    """Everything above 300 HU."""
    return Mask(ct.array > 300, "Dense")
