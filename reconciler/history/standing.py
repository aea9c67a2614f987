"""What holds until it is replaced: status rows, good specs, inventory, approvals, the routes' digest.

The half of the recorder that the loop calls once a pass. It writes nothing that is there already
(invariant 11): each method says whether it wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from reconciler.history.database import Database
from reconciler.history.rows import clean, status_to_json
from reconciler.masking import Masker
from reconciler.model.operation import PLATFORM
from reconciler.model.status import ProjectStatus

_FREE_TEXTS = (
    *("subject", "author", "detected", "evidence", "others", "dockerfile"),
    *("desired", "observed", "blocks", "last_error"),
)


class Standing:
    """Base of the recorder. Safe from any thread; raises StoreBusy and StoreUnusable.

    `masker_of` gives by a project's name ("" = the platform) what hides secrets in its rows: were others' hidden there
    too, a commit's subject would show its author which of his guesses are somebody's.
    """

    def __init__(self, database: Database, masker_of: Callable[[str], Masker]) -> None:
        self._database = database
        self._masker_of = masker_of
        rows = database.fetch("SELECT project, body FROM statuses")
        self._statuses: dict[str, str] = {row["project"]: row["body"] for row in rows}
        self._saved: dict[str, tuple[int, ProjectStatus]] = {}

    @property
    def writes(self) -> int:
        """Rows written since the store was opened."""
        return self._database.writes

    def save_statuses(self, statuses: Iterable[ProjectStatus]) -> int:
        """Store those that changed, in one transaction; returns how many."""
        known = ((self._masker_of(each.project).known, each) for each in statuses)
        fresh = {each[1].project: each for each in known if self._saved.get(each[1].project) != each}
        bodies = {name: status_to_json(self._masked(status)) for name, (_, status) in fresh.items()}
        changed = [(name, body) for name, body in bodies.items() if self._statuses.get(name) != body]
        if changed:
            with self._database.transaction() as connection:
                connection.executemany("INSERT OR REPLACE INTO statuses VALUES (?, ?)", changed)
            self._statuses.update(changed)
        self._saved.update(fresh)
        return len(changed)

    def _masked(self, status: ProjectStatus) -> ProjectStatus:
        """Only what is free text: a secret that is spelled like a word of ours must not make a row unreadable."""
        masker = self._masker_of(status.project)
        texts = {name: masker.mask_values(getattr(status, name)) for name in _FREE_TEXTS}
        conditions = tuple(replace(each, message=masker.mask(each.message)) for each in status.conditions)
        return replace(status, conditions=conditions, **texts)

    @property
    def told_projects(self) -> frozenset[str]:
        """The projects of which a status is stored."""
        return frozenset(self._statuses)

    def forget_status(self, project_name: str) -> bool:
        """The project is no longer shown."""
        if project_name not in self._statuses:
            return False
        wrote = self._write("DELETE FROM statuses WHERE project = ?", (project_name,))
        self._statuses.pop(project_name, None)
        self._saved.pop(project_name, None)
        return wrote

    def save_good_spec(self, project_name: str, *, blob: str, text: bytes, revision: str) -> bool:
        """Keep the last usable text of a spec. The revision is that of the first save of this blob."""
        if self._is_there("SELECT 1 FROM good_specs WHERE project = ? AND blob = ?", (project_name, blob)):
            return False
        return self._write(
            "INSERT OR REPLACE INTO good_specs VALUES (?, ?, ?, ?)", (project_name, blob, text, revision)
        )

    def save_good_platform(self, *, blob: str, text: bytes, revision: str) -> bool:
        """The same for `platform.yaml`."""
        return self.save_good_spec(PLATFORM, blob=blob, text=text, revision=revision)

    def forget_good_spec(self, project_name: str) -> bool:
        """The project left Git: its old text must not come back."""
        if not self._is_there("SELECT 1 FROM good_specs WHERE project = ?", (project_name,)):
            return False
        return self._write("DELETE FROM good_specs WHERE project = ?", (project_name,))

    def add_inventory(
        self, container_id: str, *, project_name: str, container_name: str, adopted: bool, now: float
    ) -> bool:
        """A container that we made, or (`adopted`) found with our labels after the store was lost."""
        if self._is_there("SELECT 1 FROM inventory WHERE container_id = ?", (container_id,)):
            return False
        return self._write(
            "INSERT OR IGNORE INTO inventory VALUES (?, ?, ?, ?, ?)",
            (container_id, project_name, container_name, int(adopted), now),
        )

    def remove_inventory(self, container_id: str) -> bool:
        """The container is gone."""
        if not self._is_there("SELECT 1 FROM inventory WHERE container_id = ?", (container_id,)):
            return False
        return self._write("DELETE FROM inventory WHERE container_id = ?", (container_id,))

    def approve(self, digest: str, *, project_name: str, by: str, now: float) -> bool:
        """A person approved the plan of that digest. The first approval stands."""
        if self._is_there("SELECT 1 FROM approvals WHERE project = ? AND digest = ?", (project_name, digest)):
            return False
        return self._write(
            "INSERT OR IGNORE INTO approvals VALUES (?, ?, ?, ?)", (project_name, digest, clean(by, 200), now)
        )

    def save_routes_digest(self, digest: str) -> bool:
        """The digest of the route document that Caddy took from us last."""
        if self._is_there("SELECT 1 FROM facts WHERE name = 'routes_digest' AND value = ?", (digest,)):
            return False
        return self._write("INSERT OR REPLACE INTO facts VALUES ('routes_digest', ?)", (digest,))

    def _is_there(self, sql: str, values: tuple[object, ...]) -> bool:
        return bool(self._database.fetch(sql, values))

    def _write(self, sql: str, values: tuple[object, ...]) -> bool:
        with self._database.transaction() as connection:
            return connection.execute(sql, values).rowcount > 0
