"""The `.dockerignore` of a source that has none: what people leak, and what is made anew in the image anyway.

Called by `dockerfiles`. Pure. Never leaves out what the Dockerfile copies by name.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

_MADE_ANEW = (".git", ".gitstead", "node_modules", ".venv", "__pycache__", "*.py[cod]", ".DS_Store", ".pytest_cache")
_KEYS = (
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.kdbx", ".ssh", ".gnupg"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"),
)
_LOGINS = (".netrc", ".pypirc", ".aws", ".kube", ".docker", ".git-credentials", ".htpasswd", "*.tfstate", "*.tfstate.*")
_ENV = (".env", ".env.*")
_ENV_LOCAL = (".env.local", ".env.*.local")
_EXAMPLES = (".env.example", ".env.sample", ".env.template", ".env.dist")
_MOST_NAMED = 5


def ignore_for(
    listing: frozenset[str], copied: Iterable[str], *, reads_env: bool, keeps_modules: bool
) -> tuple[str, str]:
    """(text of the .dockerignore, a sentence about it).

    `copied` are the words that the Dockerfile copies by name, `reads_env` that its build reads `.env` files as site
    generators do, `keeps_modules` that a committed node_modules is meant.
    """
    names = [*_MADE_ANEW, *(_ENV_LOCAL if reads_env else _ENV), *_KEYS, *_LOGINS]
    names = [each for each in names if not (keeps_modules and each == "node_modules")]
    wanted = _wanted(listing, copied)
    names = [each for each in names if not any(_pattern([each]).search(path) for path in wanted)]
    examples = [] if reads_env else list(_EXAMPLES)
    ignored, kept = _pattern(names), _pattern(examples) if examples else None
    left_out = sorted(each for each in listing if ignored.search(each) and not (kept and kept.search(each)))
    text = "# Made by Gitstead, since the source has none.\n"
    text += "".join(f"**/{each}\n" for each in names) + "".join(f"!**/{each}\n" for each in examples)
    return text, _sentence(left_out)


def _wanted(listing: frozenset[str], copied: Iterable[str]) -> set[str]:
    """What is copied by name: the words themselves, and the files below them or that match them."""
    wanted: set[str] = set()
    for word in copied:
        path = word.removeprefix("./").strip("/")
        if path in ("", "."):
            continue
        wanted.add(path)
        wanted |= {each for each in listing if each.startswith(f"{path}/") or fnmatch.fnmatchcase(each, path)}
    return wanted


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    each = "|".join(re.escape(name).replace(r"\*", "[^/]*").replace(r"\[cod\]", "[cod]") for name in names)
    return re.compile(rf"(?:\A|/)(?:{each})(?:/|\Z)")


def _sentence(left_out: list[str]) -> str:
    if not left_out:
        return "The source has no .dockerignore: the usual one is used."
    more = f" and {len(left_out) - _MOST_NAMED} more" if len(left_out) > _MOST_NAMED else ""
    named = ", ".join(repr(each)[1:-1] for each in left_out[:_MOST_NAMED])
    return f"The source has no .dockerignore: left out of the image, as keys or made anew: {named}{more}."
