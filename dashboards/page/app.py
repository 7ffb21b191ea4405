"""The posture page: one request, one look at the tables, one HTML document without scripts."""

import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dashboards.page.view import counts, crossings, matrices, minutes, sparkline
from dashboards.templating import environment
from dashboards.throughput import throughput_mbps
from dashboards.words import LANGUAGES, Language, words
from schemas.clock import Clock, wall_ms
from schemas.errors import IsochroneError

COOKIE: Final = "isochrone"
DELAY_REACH_S: Final = 60
HOUR_S: Final = 3600
POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Rows(Protocol):
    """The one method of the store that the page needs."""

    def rows(self, query_name: str, /, **params: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - the store's
        """Return the rows of a named query."""


class PageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the page shows, and who may look."""

    mesh: str
    token: str  # whoever knows it may look; at least 16 characters
    language: Language = "zh"
    timezone: str = "Asia/Shanghai"
    refresh_s: int = 5  # a slot lasts ten seconds; an early revision is here within five


def make_app(store: Rows, config: PageConfig, clock: Clock) -> Starlette:
    """Return the page over a store; requests take turns at its one connection."""
    page = _Page(store, config, clock)
    return Starlette(
        routes=[
            Route("/", page.posture),
            Route("/path", page.path),
            Route("/healthz", lambda _: PlainTextResponse("ok")),
            Mount("/static", StaticFiles(packages=[("dashboards.page", "static")])),
        ],
        middleware=[Middleware(_Guard, token=config.token, language=config.language)],
    )


class _Guard(BaseHTTPMiddleware):
    """Lets in who has the token: once in the address, then in a cookie, or as a bearer."""

    def __init__(self, app: Any, token: str, language: Language) -> None:  # noqa: ANN401 - an ASGI application
        super().__init__(app)
        self._token = token
        self._words = words(language)

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        if request.url.path == "/healthz":
            return await call_next(request)
        if self._is_token(request.query_params.get("token", "")):
            return self._remember(request)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not (self._is_token(request.cookies.get(COOKIE, "")) or self._is_token(bearer)):
            return PlainTextResponse(self._words["page_ask_token"], status_code=401)
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        return response

    def _is_token(self, said: str) -> bool:
        return secrets.compare_digest(said.encode(), self._token.encode())

    def _remember(self, request: Request) -> Response:
        """Move the token from the address, which histories keep, into a cookie."""
        kept = request.url.remove_query_params("token")
        response = RedirectResponse(f"{kept.path}?{kept.query}" if kept.query else kept.path, status_code=303)
        response.set_cookie(COOKIE, self._token, httponly=True, samesite="lax", max_age=12 * HOUR_S)
        return response


class _Page:
    """The endpoints. They are plain functions: Starlette runs them in threads."""

    def __init__(self, store: Rows, config: PageConfig, clock: Clock) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._turn = threading.Lock()
        self._templates = environment("dashboards.page", config.timezone)

    def posture(self, request: Request) -> Response:
        return self._show("posture.html.j2", request, self._posture)

    def path(self, request: Request) -> Response:
        ends = request.query_params.get("source", ""), request.query_params.get("destination", "")
        return self._show("path.html.j2", request, lambda: self._path(*ends))

    def _show(self, template: str, request: Request, content: Callable[[], Mapping[str, Any]]) -> Response:
        asked = request.query_params.get("lang", self._config.language)
        language: Language = next((each for each in LANGUAGES if each == asked), self._config.language)
        frame = {
            "w": words(language),
            "language": language,
            "mesh": self._config.mesh,
            "refresh_s": self._config.refresh_s,
            "now_ms": wall_ms(self._clock),
            "same_in": {each: f"?{request.url.include_query_params(lang=each).query}" for each in LANGUAGES},
            "error": "",
        }
        try:
            with self._turn:
                found = content()
        except IsochroneError as err:  # nothing is known now, and the page says so instead of showing old colours
            text = self._templates.get_template("unknown.html.j2").render(frame | {"error": str(err)})
            return HTMLResponse(text, status_code=503)
        return HTMLResponse(self._templates.get_template(template).render(frame | dict(found)))

    def _posture(self) -> Mapping[str, Any]:
        mesh, now_s = self._config.mesh, wall_ms(self._clock) // 1000
        states = self._states(now_s)
        delays = self._store.rows("page_delays", mesh=mesh, from_s=now_s - DELAY_REACH_S)
        tests = self._store.rows("page_throughput", mesh=mesh, from_s=now_s - 24 * HOUR_S)
        return {
            "counts": counts(states),
            "matrices": matrices(states, delays),
            "crossings": crossings(states),
            "incidents": self._store.rows("page_incidents", mesh=mesh, from_ms=(now_s - HOUR_S) * 1000),
            "probes": self._store.rows("page_probes", mesh=mesh),
            "pipeline": self._store.rows("page_pipeline", mesh=mesh)[0],
            "tests": [row | {"achieved_mbps": throughput_mbps(row)} for row in tests],
        }

    def _path(self, source: str, destination: str) -> Mapping[str, Any]:
        now_s = wall_ms(self._clock) // 1000
        states = self._states(now_s)
        streams = [row for row in states if (row["source"], row["destination"]) == (source, destination)]
        return {
            "source": source,
            "destination": destination,
            "streams": [row | self._minutes(row["stream_id"], now_s - HOUR_S) for row in streams],
        }

    def _states(self, now_s: int) -> list[dict[str, Any]]:
        return self._store.rows("judge_state_now", mesh=self._config.mesh, from_s=now_s - 24 * HOUR_S)

    def _minutes(self, stream_id: int, from_s: int) -> dict[str, Any]:
        rows = minutes(self._store.rows("page_minutes", stream_id=stream_id, from_s=from_s))
        return {"minutes": rows, "line_p50": sparkline([row["p50"] for row in rows])}
