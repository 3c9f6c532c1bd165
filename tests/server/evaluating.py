"""One request evaluated in the thread of its caller, as a call would answer it."""

import ce_engine
from losswire import v1
from losswire_server.memory.regions import OFF, Regions
from losswire_server.requests.one import plan_request


def evaluate(request: v1.EvaluateRequest, regions: Regions = OFF) -> v1.EvaluateResponse:
    slab, respond = plan_request(request, regions)
    return respond(ce_engine.evaluate(slab)).message()
