"""Recipes of base images say what they are, name no registry host, and carry the host's certificates."""

from __future__ import annotations

import pytest

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
    assert all("/" not in recipe.public for recipe in RECIPES.values())
