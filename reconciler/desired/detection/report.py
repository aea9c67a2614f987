"""Prints a detection for people and as facts for programs.

Called by `gitstead detect` and by whoever shows what a source was taken for; the text is also the oracle of the
table test. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.model.detection import Detected, Detection


def render(detection: Detection) -> str:
    """What was chosen and why, what else it could be and how to say so, then what one should know."""
    chosen = detection.chosen
    lines = [*_candidate(chosen)] if chosen else ["not recognised"]
    if detection.others:
        lines.append("could also be")
        for other in detection.others:
            lines += [f"  {each}" for each in _candidate(other, choice=True)]
    lines += [f"hint: {hint}" for hint in detection.hints]
    return "".join(f"{line}\n" for line in lines)


def _candidate(each: Detected, *, choice: bool = False) -> list[str]:
    facts = {
        "version": f"{each.version} ({each.version_from})" if each.version else "",
        "manager": each.manager,
        "target": each.target,
        "output": each.output,
        "starts": " ".join(f'"{word}"' if " " in word else word for word in each.command),
        "choose": f"build.type: {each.type}" if choice else "",
    }
    rows = [("because", evidence) for evidence in each.evidence]
    rows += [(name, text) for name, text in facts.items() if text]
    rows += [("note", note) for note in each.notes]
    return [f"{each.title}, {each.sure}", *_rows(rows)]


def _rows(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Aligned; a name that repeats is written once."""
    lines, last = [], ""
    for name, text in rows:
        lines.append(f"  {name if name != last else '':<8} {text}")
        last = name
    return lines


def facts(detection: Detection) -> dict[str, object]:
    """The same as `render` tells, by the names of the fields."""
    return {
        "chosen": _facts(detection.chosen) if detection.chosen else None,
        "others": [_facts(each) for each in detection.others],
        "hints": list(detection.hints),
    }


def _facts(each: Detected) -> dict[str, object]:
    return {
        "type": each.type,
        "sure": each.sure,
        "framework": each.framework,
        "manager": each.manager,
        "version": each.version,
        "version_from": each.version_from,
        "command": list(each.command),
        "output": each.output,
        "target": each.target,
        "evidence": list(each.evidence),
        "notes": list(each.notes),
    }
