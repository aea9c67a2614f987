"""One finding of `doctor`, and how findings are shown to people and to programs.

Made by `engine_checks` and `machine_checks`, printed by `commands`. Pure: finds nothing itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]
_SIGNS: dict[Level, str] = {"ok": "✓", "warning": "!", "problem": "✗"}
_WIDTH = 78


@dataclass(frozen=True)
class Check:
    """`name` is what was looked at, `text` what was found, `hint` what to do; a hint needs a person."""

    name: str
    level: Level
    text: str
    hint: str = ""


def as_text(checks: Sequence[Check]) -> str:
    """What is well in two columns, then what is not, each with its hint, then the counts."""
    well = [check for check in checks if check.level == "ok"]
    width = max((len(check.name) for check in checks), default=0)
    lines = _in_columns([f"✓ {check.name} {check.text}" for check in well])
    for check in checks:
        if check.level != "ok":
            lines.append(f"{_SIGNS[check.level]} {check.name.ljust(width)}  {check.text}")
            if check.hint:
                lines.append(f"  {' ' * width}  → {check.hint}")
    return "\n".join([*lines, counts(checks)])


def as_json(checks: Sequence[Check]) -> str:
    """The same facts for programs."""
    facts = {
        "problems": _number(checks, "problem"),
        "warnings": _number(checks, "warning"),
        "checks": [asdict(check) for check in checks],
    }
    return json.dumps(facts, indent=2, ensure_ascii=False)


def counts(checks: Sequence[Check]) -> str:
    """The last line: "1 problem, 2 warnings"."""
    parts = [
        f"{number} {level}{'' if number == 1 else 's'}"
        for level in ("problem", "warning")
        if (number := _number(checks, level))
    ]
    return ", ".join(parts) or f"all {len(checks)} checks are fine"


def exit_status(checks: Sequence[Check]) -> int:
    """0 without a problem, 1 with one; warnings do not count."""
    return 1 if _number(checks, "problem") else 0


def _number(checks: Sequence[Check], level: str) -> int:
    return sum(check.level == level for check in checks)


def _in_columns(cells: Sequence[str]) -> list[str]:
    half = _WIDTH // 2
    lines: list[str] = []
    pending = ""
    for cell in cells:
        if len(cell) >= half:
            lines.append(cell)
        elif pending:
            lines.append(f"{pending.ljust(half)}{cell}")
            pending = ""
        else:
            pending = cell
    return [*lines, *([pending] if pending else [])]
