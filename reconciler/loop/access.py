"""By what right each repository is asked, as one revision of the platform repository says.

Called by `loop.sources` and `loop.preview`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from reconciler.adapters.git_access import Access, Permissions
from reconciler.model.spec import PlatformSpec, ProjectSpec


def permissions_of(platform: PlatformSpec, specs: Iterable[ProjectSpec]) -> Permissions:
    """Validation has seen to it that projects with one repository name one credential."""
    access = {
        spec.source.repo: Access(platform.credentials.get(spec.source.credentials), spec.source.host_key)
        for spec in specs
    }
    return Permissions(MappingProxyType(access), platform.known_hosts, platform.submodule_hosts)
