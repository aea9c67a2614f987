"""The operations: one class per outside call, each with its resource, its cause and a sentence.

Planned by `plan`, carried out by the function of the same name in `apply.operations`, written
to the journal, printed as the text of a plan. A frozen value that holds all it needs, so that
apply decides nothing.
"""

from __future__ import annotations

from reconciler.model.operation_base import PLATFORM, Cause, Operation
from reconciler.model.operation_host import (
    CreateContainer,
    CreateNetwork,
    PruneBuildCache,
    PutRoutes,
    RemoveContainer,
    RemoveImage,
    RemoveNetwork,
    RemoveUpstream,
    SetRestartPolicy,
    StartContainer,
    StopContainer,
    WriteUpstream,
)
from reconciler.model.operation_rollout import (
    AdoptDeployment,
    AdvanceDeployment,
    AssignRelease,
    CancelJob,
    EndDeployment,
    MarkLive,
    OpenDeployment,
    RetireProject,
    StartBuild,
    StartProbe,
    StartVerify,
)

__all__ = [
    "OPERATIONS",
    "PLATFORM",
    "AdoptDeployment",
    "AdvanceDeployment",
    "AssignRelease",
    "CancelJob",
    "Cause",
    "CreateContainer",
    "CreateNetwork",
    "EndDeployment",
    "MarkLive",
    "OpenDeployment",
    "Operation",
    "PruneBuildCache",
    "PutRoutes",
    "RemoveContainer",
    "RemoveImage",
    "RemoveNetwork",
    "RemoveUpstream",
    "RetireProject",
    "SetRestartPolicy",
    "StartBuild",
    "StartContainer",
    "StartProbe",
    "StartVerify",
    "StopContainer",
    "WriteUpstream",
]

OPERATIONS: tuple[type[Operation], ...] = (
    OpenDeployment,
    AssignRelease,
    AdvanceDeployment,
    MarkLive,
    EndDeployment,
    RetireProject,
    AdoptDeployment,
    StartBuild,
    StartProbe,
    StartVerify,
    CancelJob,
    CreateNetwork,
    CreateContainer,
    StartContainer,
    StopContainer,
    RemoveContainer,
    SetRestartPolicy,
    RemoveNetwork,
    RemoveImage,
    WriteUpstream,
    RemoveUpstream,
    PutRoutes,
    PruneBuildCache,
)
