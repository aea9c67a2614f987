"""A heartbeat is read with distrust: missing, damaged and old ones are told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.heartbeat import Complaint, HeartbeatFile, read_heartbeat
from reconciler.masking import Masker
from reconciler.model.credential import CredentialUse
from reconciler.model.desired import Desired
from reconciler.model.observed import Observed
from reconciler.model.spec import PlatformSpec


def _write(folder: Path, values: object) -> Path:
    path = folder / "heartbeat.json"
    path.write_text(json.dumps(values))
    return path


def test_a_fresh_one_says_what_the_reconciler_saw(tmp_path: Path) -> None:
    complaint = {"where": "projects/blog.yaml:7:9", "message": "run.port", "project": "blog"}
    beat = read_heartbeat(
        _write(tmp_path, {"at": 1000.0, "revision": "main@abc", "diagnostics": [complaint]}), now=1010.0
    )
    assert beat.is_fresh
    assert beat.revision == "main@abc"
    assert beat.diagnostics == (Complaint("projects/blog.yaml:7:9", "run.port", "blog"),)


def test_one_older_than_90_seconds_is_not_fresh_but_is_still_told(tmp_path: Path) -> None:
    path = _write(tmp_path, {"at": 1000.0, "revision": "main@abc"})
    assert read_heartbeat(path, now=1090.0).is_fresh
    old = read_heartbeat(path, now=1091.0)
    assert not old.is_fresh
    assert old.revision == "main@abc"
    assert "90 s" in old.problem


def test_a_missing_one_is_no_heartbeat(tmp_path: Path) -> None:
    assert "no heartbeat" in read_heartbeat(tmp_path / "none.json", now=0.0).problem


@pytest.mark.parametrize(
    "values",
    [[], "text", None, 7, {"diagnostics": 1}, {"diagnostics": ["text"]}, {"credentials": 1}, {"credentials": {"a": 1}}],
)
def test_a_damaged_one_is_a_problem_and_never_an_error(tmp_path: Path, values: object) -> None:
    assert not read_heartbeat(_write(tmp_path, values), now=1e9).is_fresh


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"{", b"[" * 5000])
def test_what_is_no_json_is_damaged(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "heartbeat.json"
    path.write_bytes(body)
    assert "damaged" in read_heartbeat(path, now=0.0).problem


@pytest.mark.parametrize("at", [True, "now", -1, 1e300, float("nan")])
def test_a_time_that_cannot_be_is_never(tmp_path: Path, at: object) -> None:
    assert read_heartbeat(_write(tmp_path, {"at": at, "looked_at": at}), now=1e9).looked_at in (0.0, 1.0)


def test_how_credentials_fared_is_told_by_name_and_their_ages_make_no_difference(tmp_path: Path) -> None:
    beats = [
        read_heartbeat(
            _write(tmp_path, {"at": 1000, "credentials": {"key": {"used_at": at, "error": "no"}}}), now=1000.0
        )
        for at in (990, 995)
    ]
    assert [beat.credentials["key"] for beat in beats] == [CredentialUse(990.0, "no"), CredentialUse(995.0, "no")]
    assert beats[0].without_ages == beats[1].without_ages


def test_ages_do_not_make_two_heartbeats_differ(tmp_path: Path) -> None:
    first = read_heartbeat(_write(tmp_path, {"at": 1000, "looked_at": 1000, "engine": "down"}), now=1000.0)
    second = read_heartbeat(_write(tmp_path, {"at": 1005, "looked_at": 1004, "engine": "down"}), now=1005.0)
    assert first != second
    assert first.without_ages == second.without_ages


def test_what_others_said_is_masked_before_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat.json"
    file = HeartbeatFile(path, instance="abc123", mask=Masker(["hunter22"]).mask_values)
    wanted = Desired("main@abc", PlatformSpec(), problem="https://x:hunter22@example.com did not answer")
    file.beat(wanted, Observed(1.0, engine=None, engine_problem="it said hunter22"))
    file.alive(2.0)
    beat = read_heartbeat(path, now=3.0)
    assert (beat.git, beat.engine) == ("https://x:[masked]@example.com did not answer", "it said [masked]")
    assert "hunter22" not in path.read_text()
