"""What only a person may let go on, ask for or end: confirmations, cancellations and retries, by their digests.

Used by the passes that open and advance deployments, and by the loop, which writes down what a person asked
under the same digest; pure.
"""

from __future__ import annotations

from reconciler.model.detection import Detected
from reconciler.model.naming import digest
from reconciler.model.plan import Waiting
from reconciler.model.release import Deployment
from reconciler.plan.view import View

CONFIRMATION = "confirmation"
REMOVAL = "removal"


def confirmation(view: View) -> Waiting | None:
    """Why the first deployment waits: nobody has said yet that what was detected is right.

    Of `build.type: auto` alone, and only until a release has gone live once. The consent is to this type and
    this Dockerfile; it is void when either becomes another.
    """
    wanted = view.desired
    if wanted is None or wanted.spec.build.type != "auto" or wanted.detection is None or wanted.dockerfile is None:
        return None
    chosen = wanted.detection.chosen
    if chosen is None or view.past.live is not None or view.past.previous_live is not None:
        return None
    held = digest(["confirm", view.project, chosen.title, wanted.dockerfile.path, wanted.dockerfile.text])
    if held in view.world.history.approved:
        return None
    others = wanted.detection.others
    also = f"; it could also be {', '.join(each.title for each in others)}: set build.type to choose" if others else ""
    text = f"it looks like {chosen.title}: {_evidence(chosen)}{also}. Is that right? gitstead confirm {view.project}"
    return Waiting(view.project, CONFIRMATION, text, held)


def _evidence(detected: Detected) -> str:
    return ", ".join(detected.evidence[:3]) or "no evidence but its files"


def cancellation(project_name: str, deployment: int) -> str:
    """The digest under which a person's wish to end a deployment is kept."""
    return digest(["cancel", project_name, deployment])


def retry(project_name: str, deployment: int) -> str:
    """The digest under which a person's wish to try again what `deployment` tried is kept."""
    return digest(["retry", project_name, deployment])


def is_cancelled(view: View, deployment: Deployment) -> bool:
    return cancellation(view.project, deployment.number) in view.world.history.approved


def is_retried(view: View, deployment: Deployment) -> bool:
    return retry(view.project, deployment.number) in view.world.history.approved
