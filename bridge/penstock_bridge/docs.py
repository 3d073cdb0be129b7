"""`/docs`: Swagger UI from an installed package, with nothing loaded from elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from penstock_bridge.errors import Header
from penstock_bridge.reply import Answer, Reply
from penstock_bridge.request import Request

_PACKAGE = "drf_spectacular_sidecar"
_FOLDER = Path("static") / _PACKAGE / "swagger-ui-dist"
_OWN = ("docs.js", "docs.css")
_SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".png": "image/png"}

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: tuple[Header, ...] = (("Content-Security-Policy", _POLICY), ("Referrer-Policy", "no-referrer"))
_ASSET_AGE_S = 3600


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page; browsers keep it, so the bridge need not."""

    path: Path
    headers: tuple[Header, ...]

    async def __call__(self, request: Request, segments: list[str]) -> Answer:
        """Sends the file."""
        return Reply(200, self.path.read_bytes(), self.headers)


async def page(request: Request, segments: list[str]) -> Answer:
    """The page. Its links are relative, so that they hold under any base path, a proxy's too."""
    content = (files("penstock_bridge") / "static" / "docs.html").read_bytes()
    return Reply(200, content, [("Content-Type", "text/html; charset=utf-8"), *_HEADERS])


def assets() -> Iterator[tuple[str, Asset]]:
    """The files that the page needs, by name."""
    own = Path(str(files("penstock_bridge"))) / "static"
    for name in _OWN:
        yield name, _asset(own / name)
    for name in _SWAGGER:
        yield name, _asset(_swagger_folder() / name)


def _swagger_folder() -> Path:
    """Found without importing the package, which would import Django."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{_PACKAGE} is not installed; `pip install 'penstock[server]'` brings it")
    return Path(spec.submodule_search_locations[0]) / _FOLDER


def _asset(path: Path) -> Asset:
    age = ("Cache-Control", f"max-age={_ASSET_AGE_S}")
    return Asset(path, (("Content-Type", _TYPES[path.suffix]), age, *_HEADERS))
