"""A page in the browser to segment photos with; needs the extra `freeseg[web]`."""

try:
    import fastapi as _fastapi  # noqa: F401
    import uvicorn as _uvicorn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "the web demo needs FastAPI and uvicorn: pip install 'freeseg[web]'"
    ) from error

from freeseg.web.app import create_app, listen, serve
from freeseg.web.desk import BusyError, Desk, GoneError, Limits

__all__ = ["BusyError", "Desk", "GoneError", "Limits", "create_app", "listen", "serve"]
