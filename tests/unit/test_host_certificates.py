"""The authorities that an administrator added are told from those that the distribution ships."""

from __future__ import annotations

from pathlib import Path

from reconciler.host.certificates import host_bundle, local_certificates


def pem(text: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----"


def folder(path: Path, **certificates: str) -> Path:
    path.mkdir()
    for name, text in certificates.items():
        (path / f"{name}.crt").write_text(pem(text) + "\n")
    return path


def test_added_files_and_blocks_that_are_only_in_the_bundle_are_local(tmp_path: Path) -> None:
    shipped = folder(tmp_path / "shipped", one="ONE", two="TWO")
    added = folder(tmp_path / "added", company="COMPANY")
    bundle = tmp_path / "bundle.crt"
    bundle.write_text("\n".join([pem("ONE"), "# the proxy", pem("PROXY"), pem("COMPANY")]))
    found = local_certificates(bundle, shipped=shipped, added=added)
    assert found == (pem("COMPANY").encode(), pem("PROXY").encode())


def test_where_nothing_is_shipped_the_bundle_tells_nothing(tmp_path: Path) -> None:
    added = folder(tmp_path / "added", company="COMPANY")
    bundle = tmp_path / "bundle.crt"
    bundle.write_text(pem("ONE"))
    found = local_certificates(bundle, shipped=tmp_path / "none", added=added)
    assert found == (pem("COMPANY").encode(),)


def test_a_machine_without_own_authorities_has_none(tmp_path: Path) -> None:
    shipped = folder(tmp_path / "shipped", one="ONE")
    bundle = tmp_path / "bundle.crt"
    bundle.write_text(pem("ONE").replace("\n", "\r\n"))
    assert local_certificates(bundle, shipped=shipped, added=tmp_path / "none") == ()


def test_the_bundle_is_a_file_or_nothing() -> None:
    bundle = host_bundle()
    assert bundle is None or bundle.is_file()
