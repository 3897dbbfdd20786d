"""What every request and every answer passes: whose name is called, and what browsers may do."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geocsp.app.problems import problem

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self' blob:; child-src blob:; "
    "style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), payment=(), usb=()",
}
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Guard:
    """Refuses requests in another's name, and adds headers that keep browsers within the app.

    A page elsewhere whose name is made to point to this computer (DNS rebinding) sends its own
    name as the host, and a page that posts a form here sends its own origin.

    Args:
        app: what is guarded.
        hosts: names by which the app may be called.
        any_address: also by any IP address, which no other page can pretend to be.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = LOOPBACK, any_address: bool = False):
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._any_address = any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        policy = _REPORT_POLICY if scope["path"].startswith("/report") else _PAGE_POLICY

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-cache")
                for name, value in {**_HEADERS, "Content-Security-Policy": policy}.items():
                    headers[name] = value
            await send(message)

        refused = self._refusal(Headers(scope=scope))
        if refused is not None:
            await problem(*refused)(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)

    def _refusal(self, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._is_ours(_name_of(host)):
            return 400, "the app is not known by this host name"
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return 403, "pages elsewhere may not use the app"
        return None

    def _is_ours(self, name: str) -> bool:
        if name in self._hosts:
            return True
        return self._any_address and _is_address(name)


def _name_of(host: str) -> str:
    """A host header without its port and brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
