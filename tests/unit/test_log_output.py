"""The program's own log: no line of it holds a secret, in whatever part of an event it comes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import structlog

from reconciler.errors import BuildFailed
from reconciler.log_output import configure_logging
from reconciler.masking import Masker
from reconciler.settings import LogFormat

SECRET = 'hunter"22\\é'


@pytest.fixture
def configured() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("form", get_args(LogFormat))
def test_a_secret_is_in_no_part_of_a_line(form: LogFormat) -> None:
    out, masker = io.StringIO(), Masker()
    configure_logging(level="info", form=form, stream=out, masker=masker)
    log = structlog.get_logger()
    log.info("before", message="hunter is no secret yet")
    masker.add(SECRET)
    log.info(f"said {SECRET}", message=f"a {SECRET}", tags=["x", SECRET], facts={"key": (SECRET, 7)})
    log.info("objects", path=Path("/tmp") / SECRET.replace("/", ""), error=BuildFailed(f"it printed {SECRET}"))
    with structlog.contextvars.bound_contextvars(project=SECRET):
        try:
            raise BuildFailed(f"raised with {SECRET}")
        except BuildFailed:
            log.exception("crashed")
    text = out.getvalue()
    assert "hunter is no secret yet" in text
    assert text.replace("hunter is no secret yet", "").count("hunter") == 0
    assert "raised with [masked]" in text
    assert text.count("[masked]") >= 8


@pytest.mark.usefixtures("configured")
def test_a_secret_that_is_spelled_like_our_own_words_leaves_the_lines_readable() -> None:
    out = io.StringIO()
    configure_logging(level="info", form="json", stream=out, masker=Masker(["event", 'level": "', '", "', "true"]))
    structlog.get_logger().info("an event", count=3, good=True, nothing=None)
    line = json.loads(out.getvalue())
    assert (line["event"], line["level"], line["count"], line["good"], line["nothing"]) == (
        "an [masked]", "info", 3, True, None,
    )  # fmt: skip
