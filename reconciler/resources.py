"""Where the files that ship with the program lie: schemas, examples, units, Caddy's page texts.

Called by whoever needs such a file's path; does not read them. In a wheel they are under
`reconciler/_data`; in a checkout they stand at the top of the repository.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource(*parts: str) -> Path:
    """Path of a shipped file or folder, e.g. `resource("schemas", "project.schema.json")`."""
    packaged = _PACKAGE / "_data"
    root = packaged if packaged.is_dir() else _PACKAGE.parent
    return root.joinpath(*parts)
