"""Conditions and health: the closed list of words in which a project's state is told.

Made by `plan.health`, shown by web and CLI. A new reason is a new member here, with the
sentence for the reference; tests fail on one that is undocumented.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Health(StrEnum):
    """Ordered from best to worst; of several, the worst wins."""

    HEALTHY = "Healthy"
    SUSPENDED = "Suspended"
    PROGRESSING = "Progressing"
    UNKNOWN = "Unknown"
    MISSING = "Missing"
    DEGRADED = "Degraded"

    @property
    def rank(self) -> int:
        return list(Health).index(self)


class Reason(StrEnum):
    """Why a condition is as it is; the value is what people see."""

    LIVE = "Live"
    ADOPTED = "Adopted"
    DEPLOYING = "Deploying"
    REPAIRING = "Repairing"
    RETRYING = "Retrying"
    NEVER_DEPLOYED = "NeverDeployed"
    SPEC_INVALID = "SpecInvalid"
    SOURCE_UNUSABLE = "SourceUnusable"
    REMOTE_UNAVAILABLE = "RemoteUnavailable"
    HOST_KEY_MISMATCH = "HostKeyMismatch"
    BUILD_FAILED = "BuildFailed"
    BUILD_HINDERED = "BuildHindered"
    BUILD_TIMED_OUT = "BuildTimedOut"
    START_FAILED = "StartFailed"
    CHECK_FAILED = "CheckFailed"
    ROUTE_NOT_VERIFIED = "RouteNotVerified"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    CRASH_LOOP = "CrashLoop"
    EXITED = "Exited"
    ENGINE_UNAVAILABLE = "EngineUnavailable"
    CADDY_UNAVAILABLE = "CaddyUnavailable"
    OPERATION_FAILED = "OperationFailed"
    NOT_OURS = "NotOurs"
    NOT_CONVERGING = "NotConverging"
    WAITING_FOR_APPROVAL = "WaitingForApproval"
    WAITING_FOR_CONFIRMATION = "WaitingForConfirmation"
    DISK_LOW = "DiskLow"
    SECRET_UNREADABLE = "SecretUnreadable"  # noqa: S105 - a word, no password
    CREDENTIAL_REFUSED = "CredentialRefused"
    CANCELLED = "Cancelled"
    ORPHAN = "Orphan"
    INTERRUPTED = "Interrupted"
    SUPERSEDED = "Superseded"


REASONS: dict[Reason, str] = {
    Reason.LIVE: "The wanted release answers through its route.",
    Reason.ADOPTED: "It ran before this store existed; it was taken over untouched.",
    Reason.DEPLOYING: "A deployment is on its way; the message names its state.",
    Reason.REPAIRING: "Something moved the world away from Git; it is being put back.",
    Reason.RETRYING: "The last attempt failed for a cause that waiting can cure; the message says when it runs again.",
    Reason.NEVER_DEPLOYED: "No release of this project has gone live yet.",
    Reason.SPEC_INVALID: "The spec at the platform's revision cannot be used; the last good one holds.",
    Reason.SOURCE_UNUSABLE: "The app repository lacks the branch, the path or any commit; what runs goes on.",
    Reason.REMOTE_UNAVAILABLE: "The app repository did not answer; what runs goes on and it is asked again.",
    Reason.HOST_KEY_MISMATCH: "The ssh host is not the one that known_hosts names; nothing is fetched from it.",
    Reason.BUILD_FAILED: "The image could not be built; the old release serves. Push a fix.",
    Reason.BUILD_HINDERED: "The build lacked the network, a registry or disk; it is tried again by itself.",
    Reason.BUILD_TIMED_OUT: "The build was ended at build.timeout; the old release serves.",
    Reason.START_FAILED: "The container could not be created or started; the old release serves.",
    Reason.CHECK_FAILED: "The new release did not answer its health path in time; the old one serves.",
    Reason.ROUTE_NOT_VERIFIED: "The new release did not answer through Caddy's route in time.",
    Reason.DEADLINE_EXCEEDED: "A state of the deployment outlived its deadline.",
    Reason.CRASH_LOOP: "The app keeps ending by itself; the message has its exit code.",
    Reason.EXITED: "The app ended; it is started again.",
    Reason.ENGINE_UNAVAILABLE: "Docker does not answer; nothing is concluded from its silence.",
    Reason.CADDY_UNAVAILABLE: "Caddy's admin API does not answer; it serves what it has.",
    Reason.OPERATION_FAILED: "An operation failed for good; the message has what the outside said.",
    Reason.NOT_OURS: "A name that should be ours belongs to somebody else; it was left alone.",
    Reason.NOT_CONVERGING: "The same difference came back right after it was put right; the message names the field.",
    Reason.WAITING_FOR_APPROVAL: "A gate holds the plan until a person approves its digest.",
    Reason.WAITING_FOR_CONFIRMATION: "A person confirms what build.type auto detected, before the first deployment.",
    Reason.DISK_LOW: "Less disk is free than the host's limits.disk_floor; builds wait, what runs goes on.",
    Reason.SECRET_UNREADABLE: "A sealed value cannot be opened with this platform's key; what runs goes on.",
    Reason.CREDENTIAL_REFUSED: "The repository's host refused the credential, or asks for one; what runs goes on.",
    Reason.CANCELLED: "A person ended the deployment; a new commit or gitstead retry begins another.",
    Reason.ORPHAN: "The project left the platform repository; what runs of it is being removed or waits for a gate.",
    Reason.INTERRUPTED: "The reconciler ended in mid-deployment; it is planned again.",
    Reason.SUPERSEDED: "A newer commit or spec took its place.",
}

ConditionType = Literal["Ready", "Reconciling", "Stalled"]
Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Condition:
    """`message` is one sentence for a person: the value, what was expected, what to do."""

    type: ConditionType
    status: Truth
    reason: Reason
    message: str


@dataclass(frozen=True)
class Verdict:
    """Health of one project with the conditions that explain it; the first one leads."""

    health: Health
    conditions: tuple[Condition, ...]


def worst(healths: tuple[Health, ...]) -> Health:
    """The worst of several; Healthy where there is none."""
    return max(healths, key=lambda health: health.rank, default=Health.HEALTHY)
