"""A local web page that shows what a model knows: maps, places and photos.

:func:`geocsp.app.create.create_app` makes the application, :func:`geocsp.app.serve.serve` runs it.
"""

from geocsp.errors import MissingExtraError

try:
    import fastapi  # noqa: F401
    import python_multipart  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise MissingExtraError(error.name or "fastapi", "app") from error
