"""The bank's model server: Open Inference Protocol V2 in, digits and scores out. `casemate guard serve` puts a guard around it.

    casemate guard serve examples/cheques/guard.yaml --port 8080
"""

import cheques
import numpy as np
import torch
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

torch.set_num_threads(1)  # one image at a time is faster so


def _read(pixels: np.ndarray) -> tuple[list[int], list[list[float]]]:
    x = torch.from_numpy(pixels.astype(np.float32)).reshape(-1, 1, 32, 32)
    with torch.no_grad():
        scores = cheques.logits(cheques.deployed(), x)
    return cheques.threshold(scores).tolist(), scores.softmax(1).tolist()


async def infer(request: Request) -> JSONResponse:
    """`inputs[0].data`: scanner images, 32 x 32 each, in [0, 1]."""
    body = await request.json()
    try:
        pixels = np.asarray(body["inputs"][0]["data"], dtype=np.float32).reshape(-1, 1, 32, 32)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        return JSONResponse({"error": f"inputs[0].data is no 32 x 32 images: {error}"}, status_code=400)
    labels, scores = await run_in_threadpool(_read, pixels)
    flat = [score for row in scores for score in row]
    outputs = [
        {"name": "label", "shape": [len(labels)], "datatype": "INT64", "data": labels},
        {"name": "scores", "shape": [len(labels), 10], "datatype": "FP32", "data": flat},
    ]
    return JSONResponse({"model_name": "cheques", "outputs": outputs})


async def live(request: Request) -> JSONResponse:
    """Whether the server runs."""
    return JSONResponse({"live": True})


app = Starlette(routes=[Route("/v2/health/live", live), Route("/v2/models/cheques/infer", infer, methods=["POST"])])
