"""The last good text of every spec, kept in the store (invariant 3).

Called by `loop.sources`; the way between file paths and the store's rows, nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.history.queries import Queries
from reconciler.history.recorder import Recorder

Files = Mapping[str, tuple[str, bytes]]
PLATFORM_FILE = "platform.yaml"


def good_texts(queries: Queries) -> Files:
    """Path of the file to (blob id, text)."""
    texts = {f"projects/{name}.yaml": (each.blob, each.text) for name, each in queries.good_specs().items()}
    platform = queries.good_platform()
    return texts | ({PLATFORM_FILE: (platform.blob, platform.text)} if platform else {})


class GoodSpecs:
    def __init__(self, recorder: Recorder, queries: Queries) -> None:
        self._recorder, self._queries = recorder, queries

    def good_texts(self) -> Files:
        return good_texts(self._queries)

    def save_good_texts(self, files: Files, revision: str) -> None:
        """Keep what is valid at `revision`; what is kept already is not written again."""
        for path, (blob, text) in files.items():
            if path == PLATFORM_FILE:
                self._recorder.save_good_platform(blob=blob, text=text, revision=revision)
            else:
                name = path.removeprefix("projects/").removesuffix(".yaml")
                self._recorder.save_good_spec(name, blob=blob, text=text, revision=revision)

    def forget_good_texts(self, names: frozenset[str]) -> None:
        """Projects that left Git: an old text must not come back with a broken new one."""
        for name in names:
            self._recorder.forget_good_spec(name)
