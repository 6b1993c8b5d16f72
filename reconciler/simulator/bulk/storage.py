"""Serves a world's files over HTTP. For Shopify, this is a third party's storage service, which needs no token.

The address is the secret. Faults of the shop apply under the names `stagedUpload` and `bulkResult`.
"""

import shutil
from pathlib import Path
from typing import Final

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from reconciler.simulator.bulk.files import RESULTS, UPLOADS
from reconciler.simulator.faults import Fault
from reconciler.simulator.graphql.calls import LostAnswer, status_response
from reconciler.simulator.world import SimShop, World

COPY_BYTES: Final = 1 << 20
AFTER_THE_WORK: Final = frozenset({"lost_after", "truncated"})


def routes(world: World) -> list[BaseRoute]:
    front = _Storage(world)
    return [
        Route(RESULTS + "/{domain}/{name}", front.result, methods=["GET"]),
        Route(UPLOADS + "/{domain}", front.upload, methods=["POST"]),
    ]


def storage_error(status: int, code: str, message: str) -> Response:
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Response(body, status, media_type="application/xml; charset=UTF-8")


class _Storage:
    def __init__(self, world: World) -> None:
        self.world = world

    async def result(self, request: Request) -> Response:
        sim = self.world.find_shop(request.path_params["domain"])
        path: Path | None = None
        fault: Fault | None = None
        if sim is not None:
            fault = await _fault(sim, "bulkResult")
            if fault is not None and fault.kind not in AFTER_THE_WORK:
                return _failed(fault)
            with sim.lock:
                path = sim.shop.result_file(request.path_params["name"])
        if path is None:
            return storage_error(404, "NoSuchKey", "The specified key does not exist.")
        if fault is not None and fault.kind == "truncated":
            return Response(_first_half(path), media_type="application/jsonl")
        if fault is not None or sim is None:
            return LostAnswer()
        return sim.spoilt(FileResponse(path, media_type="application/jsonl"), ("bulkResult",))

    async def upload(self, request: Request) -> Response:
        """Receive a form as a browser sends it. Parameters after `file` are ignored, as the order matters at Shopify."""
        sim = self.world.find_shop(request.path_params["domain"])
        if sim is None:
            return storage_error(404, "NoSuchBucket", "The specified bucket does not exist.")
        fault = await _fault(sim, "stagedUpload")
        if fault is not None and fault.kind not in AFTER_THE_WORK:
            return _failed(fault)
        given: dict[str, str] = {}
        sent: UploadFile | None = None
        async with request.form() as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    sent = value
                    break
                given[name] = value
            if sent is None:
                return storage_error(400, "InvalidArgument", "POST requires exactly one file upload per request.")
            with sim.lock:
                refused = sim.shop.upload_fault(given, sent.size or 0)
                if refused is not None:
                    return storage_error(*refused)
                with sim.shop.upload_place(given["key"]).open("wb") as place:
                    shutil.copyfileobj(sent.file, place, COPY_BYTES)
        return LostAnswer() if fault is not None else sim.spoilt(_stored(given["key"]), ("stagedUpload",))


async def _fault(sim: SimShop, name: str) -> Fault | None:
    return await sim.faults.met((name,), {})


def _failed(fault: Fault) -> Response:
    return LostAnswer() if fault.kind == "lost_before" else status_response(fault.status or 503, fault)


def _first_half(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(path.stat().st_size // 2)


def _stored(key: str) -> Response:
    body = (
        "<?xml version='1.0' encoding='UTF-8'?><PostResponse>"
        f"<Location>https://shopify-staged-uploads.storage.googleapis.com/{key}</Location>"
        f"<Bucket>shopify-staged-uploads</Bucket><Key>{key}</Key></PostResponse>"
    )
    return Response(body, 201, media_type="application/xml; charset=UTF-8")
