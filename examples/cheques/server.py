"""The bank's model server: Open Inference Protocol V2 in, digits and scores out. `casemate guard serve` puts a guard around it.

casemate guard serve examples/cheques/guard.yaml --port 8080
"""

from typing import Any

import cheques
import numpy as np
import torch
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

torch.set_num_threads(1)  # one image at a time is faster so

IMAGE = [1, 32, 32]


def _images(body: Any) -> np.ndarray:
    """The scanner images in a request (n, 1, 32, 32), held to the shape it names: what was counted is what is read."""
    (tensor,) = body["inputs"]
    shape = tensor["shape"]
    if not isinstance(shape, list) or any(type(size) is not int for size in shape) or shape[1:] != IMAGE or shape[0] < 1:
        raise ValueError("the shape must be [n, 1, 32, 32]")
    pixels = np.asarray(tensor["data"], dtype=np.float32)
    if pixels.ndim > 1 and pixels.shape != tuple(shape):
        raise ValueError("the data does not have the shape")
    pixels = pixels.reshape(shape)
    if not ((pixels >= 0) & (pixels <= 1)).all():  # neither is true of NaN
        raise ValueError("a pixel is not in [0, 1]")
    return pixels


def _read(pixels: np.ndarray) -> tuple[list[int], list[list[float]]]:
    with torch.no_grad():
        scores = cheques.logits(cheques.deployed(), torch.from_numpy(pixels))
    return cheques.threshold(scores).tolist(), scores.softmax(1).tolist()


async def infer(request: Request) -> JSONResponse:
    """One input of scanner images, 32 x 32 each, in [0, 1]: ``{"inputs": [{"shape": [n, 1, 32, 32], "data": [...]}]}``."""
    try:
        pixels = _images(await request.json())
    except (LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        return JSONResponse({"error": f"not scanner images: {type(error).__name__}"}, status_code=400)
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
