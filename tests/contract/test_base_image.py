"""Base images in the real engine: made once, named ours, never over somebody else's."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.adapters import processes
from reconciler.errors import NotOurs
from reconciler.host import base_image, engine_checks
from reconciler.host.base_recipes import LABEL

pytestmark = pytest.mark.real


def docker(*words: str) -> str:
    return processes.run(["docker", *words], timeout_s=120).text


@pytest.fixture
def public_name() -> Iterator[str]:
    name = f"gs-test-{uuid.uuid4().hex[:8]}/python:3"
    yield name
    processes.run(["docker", "image", "rm", name], timeout_s=60, check=False)


@pytest.fixture
def foreign_image(tmp_path: Path, public_name: str) -> str:
    """An image without our label, under the public name."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    docker("buildx", "build", "--load", "--provenance=false", "--tag", public_name, str(tmp_path))
    return public_name


def test_an_image_that_is_there_and_ours_is_left_alone() -> None:
    before = base_image.ensure_base_image("python", print)
    said: list[str] = []
    after = base_image.ensure_base_image("python", said.append)
    assert after == before
    assert said == [after.described]


def test_its_labels_say_what_it_really_is() -> None:
    image = base_image.ensure_base_image("python", print)
    assert image.labels[LABEL] == "python"
    assert image.labels[f"{LABEL}.kind"] in ("air-gapped", "pulled")
    assert engine_checks.check_base_images().level == "ok"


def test_python_pip_and_venv_run_in_it() -> None:
    image = base_image.ensure_base_image("python", print)
    for words in (["python", "-m", "pip", "--version"], ["python3", "-m", "venv", "/tmp/venv"]):
        docker("run", "--rm", "--network=none", image.reference, *words)


def test_a_public_name_is_given_on_request(public_name: str) -> None:
    image = base_image.ensure_base_image("python", print, public_name=public_name)
    named = base_image.find_image(public_name)
    assert named is not None
    assert named.image_id == image.image_id


def test_a_public_name_is_never_taken_from_an_image_that_is_not_ours(foreign_image: str) -> None:
    before = base_image.find_image(foreign_image)
    with pytest.raises(NotOurs, match=f"image {foreign_image} .* has no label {LABEL}=python"):
        base_image.ensure_base_image("python", print, public_name=foreign_image)
    assert base_image.find_image(foreign_image) == before


def test_an_image_that_is_not_there_is_none() -> None:
    assert base_image.find_image(f"gs-test-{uuid.uuid4().hex}:latest") is None
