"""What the page shows: the example models, one that asks for a point and an organ, a slow one, and a hostile one."""

import time
from typing import Annotated

from pydantic import Field

from gateway import Classification, Gateway, Mask, Volume
from gateway.contract.requests import current_request
from models import region_growing
from models.app import MODELS, add
from models.lesion import measure
from tests.apps.clicking import organs

SCRIPT = "<img src=x onerror=\"window.hacked='model'\"><script>window.hacked='model'</script>"
STEPS = 100


def slow(volume: Volume) -> Mask:
    """Report progress for ten seconds, unless the request is cancelled."""
    for step in range(STEPS):
        current_request().progress(step, STEPS, "thinking")
        time.sleep(0.1)
    return Mask(volume.array > 0, "Slow")


def nothing(volume: Volume) -> list[Mask]:
    """Find nothing."""
    return []


def hostile(
    volume: Volume, script: Annotated[str, Field(title=SCRIPT, description=SCRIPT)] = SCRIPT
) -> list[Mask | Classification]:
    """Answer with markup in every text that a model has."""
    return [Mask(volume.array > 0, SCRIPT), Classification({SCRIPT: SCRIPT})]


hostile.__doc__ = f"Summary {SCRIPT}\n\nDescription {SCRIPT}"
app = Gateway(__name__)
for route, model in MODELS.items():
    add(app, route, model)
app.model("/region-growing", version="1.0.0")(region_growing.grow)
app.model("/slow")(slow)
app.model("/hostile")(hostile)
app.model("/nothing")(nothing)
app.model("/lesion", version="1.0.0")(measure)
app.model("/organs")(organs)
