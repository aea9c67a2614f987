"""What one project prints hides that project's own secrets and tells nothing of another's (invariant 6), for real."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.adapters.docker_engine import DockerEngine
from reconciler.adapters.image_builder import BuildRequest, ImageBuilder
from reconciler.adapters.secret_box import SecretBox, ensure_keys, recipients_of, seal
from reconciler.apply.output import Outputs
from reconciler.errors import BuildFailed
from reconciler.history.logs import BuildLogs, LogReader
from reconciler.masking import MASK, Masker
from reconciler.model import naming
from tests.caddy_support import wait_until
from tests.engine_support import engine_instance, new_instance, remove_everything, tiny_image, wanted_container

pytestmark = pytest.mark.real
SECRET = "hunter22-and-more"
GUESSES = f"hunter21-and-more {SECRET} {base64.b64encode(SECRET.encode()).decode()}"
MASKED = f"hunter21-and-more {MASK} {MASK}"


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with tiny_image() as name:
        yield name


@pytest.fixture
def box(tmp_path: Path) -> SecretBox:
    """One for the whole platform, which knows a secret of blog and another of shop."""
    ensure_keys(tmp_path / "keys")
    box = SecretBox(tmp_path / "keys", Masker())
    for project, value in (("blog", SECRET), ("shop", "of-the-shop-alone")):
        place = {"kind": "run-secret", "project": project, "key": "DB"}
        box.mark(seal(value, recipients=recipients_of(tmp_path / "keys"), **place), **place)
    return box


@pytest.fixture
def logs(tmp_path: Path, box: SecretBox) -> Iterator[BuildLogs]:
    opened = BuildLogs(tmp_path / "logs.db", masker_of=box.masker_of, create=True)
    yield opened
    opened.close()


def kept(folder: Path, project: str) -> str:
    reader = LogReader(folder / "logs.db")
    text = "\n".join(f"{line.step} {line.text}" for line in reader.read(project, 1))
    reader.close()
    return text


def test_a_build_that_prints_another_project_s_secret_cannot_tell_that_it_is_one(
    tmp_path: Path, image: str, box: SecretBox, logs: BuildLogs
) -> None:
    instance, context = new_instance(), tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {image}\nRUN : {instance}; echo '{GUESSES}'; exit 3\n")
    failures = {}
    try:
        for project in ("shop", "blog"):
            sink = logs.open_log(project, 1, now=1.0)
            request = BuildRequest(
                context=context,
                dockerfile=context / "Dockerfile",
                tag=f"gs-{instance}-{project}:1",
                labels={naming.LABEL_INSTANCE: instance},
                timeout_s=60.0,
                job_id=f"{instance}/{project}/d1",
                masker=box.masker_of(project),
            )
            with pytest.raises(BuildFailed) as failed:
                ImageBuilder(None).build(request, sink)
            sink.close()
            failures[project] = failed.value.what
    finally:
        remove_everything(instance)
    assert GUESSES in failures["shop"]
    assert GUESSES in kept(tmp_path, "shop")
    assert MASK not in kept(tmp_path, "shop") + failures["shop"]
    assert MASKED in failures["blog"]
    assert MASKED in kept(tmp_path, "blog")
    assert SECRET not in kept(tmp_path, "blog") + failures["blog"]


def test_the_last_output_of_an_app_is_masked_with_its_own_secrets_also_where_it_is_torn(
    tmp_path: Path, image: str, box: SecretBox, logs: BuildLogs
) -> None:
    torn = f"{GUESSES} {SECRET[:9]}"
    with engine_instance() as engine:
        container = _that_printed(engine, image, torn)
        outputs = Outputs(box.masker_of, engine, lambda name, number: logs.open_log(name, number, now=1.0), lambda: 1.0)
        for project in ("shop", "blog"):
            outputs.keep(project, 1, container)
    assert kept(tmp_path, "shop").endswith(f" {torn}")
    assert kept(tmp_path, "blog").endswith(f" {MASKED} {MASK}")


def _that_printed(engine: DockerEngine, image: str, text: str) -> str:
    """A container that said this, without a newline at its end."""
    container_id = engine.create_container(wanted_container(engine, image, f"printf %s '{text}'"))
    engine.start(container_id)
    wait_until(lambda: any(text.encode() in data for _, _, data in engine.container_logs(container_id)))
    return container_id
