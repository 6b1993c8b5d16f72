"""The files of simulated shops: staged uploads and the results of bulk operations, on disk and never in memory.

Also what stands before them on HTTP, which at Shopify is a storage service of somebody else: no token is asked for, the
address is the secret.
"""

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

if TYPE_CHECKING:
    from reconciler.simulator.world import World

COPY_BYTES: Final = 1 << 20
RESULTS: Final = "/bulk-results"
UPLOADS: Final = "/staged-uploads"


class Depot:
    """A folder that is made when first needed, and goes with its owner if it was not named."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def place(self, name: str) -> Path:
        """Where a file of this name lies; its folder is there."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="simulated-shopify-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def routes(world: "World") -> list[BaseRoute]:
    front = _Storage(world)
    return [
        Route(RESULTS + "/{domain}/{name}", front.result, methods=["GET"]),
        Route(UPLOADS + "/{domain}", front.upload, methods=["POST"]),
    ]


def storage_error(status: int, code: str, message: str) -> Response:
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Response(body, status, media_type="application/xml; charset=UTF-8")


class _Storage:
    def __init__(self, world: "World") -> None:
        self.world = world

    async def result(self, request: Request) -> Response:
        sim = self.world.shops.get(request.path_params["domain"])
        path = None
        if sim is not None:
            with sim.lock:
                path = sim.shop.result_file(request.path_params["name"])
        if path is None:
            return storage_error(404, "NoSuchKey", "The specified key does not exist.")
        return FileResponse(path, media_type="application/jsonl")

    async def upload(self, request: Request) -> Response:
        """A form as a browser would send it. What stands after `file` is not read, as its order matters there."""
        sim = self.world.shops.get(request.path_params["domain"])
        if sim is None:
            return storage_error(404, "NoSuchBucket", "The specified bucket does not exist.")
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
        return _stored(given["key"])


def _stored(key: str) -> Response:
    body = (
        "<?xml version='1.0' encoding='UTF-8'?><PostResponse>"
        f"<Location>https://shopify-staged-uploads.storage.googleapis.com/{key}</Location>"
        f"<Bucket>shopify-staged-uploads</Bucket><Key>{key}</Key></PostResponse>"
    )
    return Response(body, 201, media_type="application/xml; charset=UTF-8")
