"""Serves pretix's static files, which a web server does elsewhere."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.views.static import serve


class ServeFiles:
    """Middleware: what begins with STATIC_URL is a file."""

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        if request.path.startswith(settings.STATIC_URL):
            return serve(request, request.path[len(settings.STATIC_URL) :], document_root=settings.STATIC_ROOT)
        return self.get_response(request)
