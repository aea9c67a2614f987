"""Settings: the host file, the environment over it, and errors that name file, key and value."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import HostUnfit
from reconciler.settings import Settings, load_settings


def host_file(folder: Path, text: str) -> Path:
    path = folder / "host.yaml"
    path.write_text(text)
    return path


def test_the_host_file_is_read_into_one_value(tmp_path: Path) -> None:
    text = """
state: /srv/gitstead
platform: {repo: /srv/git/platform.git, branch: live}
listen: {host: 192.0.2.1, http_port: 80, status_port: 9000}
ports: [21000, 21999]
poll: 5s
local_paths: [/srv/git]
log: {level: debug, format: json}
"""
    settings = load_settings({}, host_file=host_file(tmp_path, text))
    assert settings.state == Path("/srv/gitstead")
    assert (settings.platform_repo, settings.platform_branch) == ("/srv/git/platform.git", "live")
    assert (settings.listen_host, settings.http_port, settings.status_port) == ("192.0.2.1", 80, 9000)
    assert settings.ports == (21000, 21999)
    assert settings.poll_s == 5.0
    assert settings.local_paths == ("/srv/git",)
    assert (settings.log_level, settings.log_format) == ("debug", "json")


def test_the_environment_stands_over_the_host_file(tmp_path: Path) -> None:
    path = host_file(tmp_path, "listen: {http_port: 8080}\n")
    environ = {"GITSTEAD_HTTP_PORT": "9090", "GITSTEAD_PORTS": "100-200", "GITSTEAD_POLL_S": "500ms"}
    settings = load_settings(environ, host_file=path)
    assert (settings.http_port, settings.ports, settings.poll_s) == (9090, (100, 200), 0.5)


def test_a_host_file_can_be_named_by_the_environment(tmp_path: Path) -> None:
    path = host_file(tmp_path, "builds: 3\n")
    assert load_settings({"GITSTEAD_HOST_FILE": str(path)}).builds == 3


def test_the_engine_of_the_shell_is_used(tmp_path: Path) -> None:
    settings = load_settings({"DOCKER_HOST": "unix:///run/other.sock"}, host_file=host_file(tmp_path, "builds: 1\n"))
    assert settings.docker_host == "unix:///run/other.sock"


def test_a_child_gets_the_very_same_settings() -> None:
    settings = Settings(Path("/srv/x"), platform_repo="/r.git", local_paths=("/a", "/b"), ports=(1, 2), poll_s=0.25)
    assert load_settings(settings.environment(), host_file=None) == settings


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("builds: many\n", ("builds", "many")),
        ("listen: {http_prot: 80}\n", ("http_prot", "http_port")),
        ("- 1\n", ("host.yaml:1:1",)),
    ],
)
def test_a_wrong_host_file_is_refused_with_place_and_value(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(HostUnfit) as caught:
        load_settings({}, host_file=host_file(tmp_path, text))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_wrong_variable_is_refused_with_name_and_value() -> None:
    with pytest.raises(HostUnfit, match=r"GITSTEAD_HTTP_PORT.*'eighty'"):
        load_settings({"GITSTEAD_HTTP_PORT": "eighty"})


def test_a_named_host_file_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(HostUnfit, match=r"nowhere\.yaml"):
        load_settings({}, host_file=tmp_path / "nowhere.yaml")


def test_where_base_images_come_from_is_one_of_two_words(tmp_path: Path) -> None:
    assert load_settings({}, host_file=host_file(tmp_path, "bases: registry\n")).bases == "registry"
    assert load_settings({"GITSTEAD_BASES": "own"}).bases == "own"
    with pytest.raises(HostUnfit, match=r"GITSTEAD_BASES: bases is 'elsewhere': expected one of own, registry"):
        load_settings({"GITSTEAD_BASES": "elsewhere"})
