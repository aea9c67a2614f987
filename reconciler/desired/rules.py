"""Rules of single values that a JSON Schema can only hint at, each with the sentence that helps.

Called by `schema_check` for the keys whose schema names one in `x-rule`. Pure. A rule is given the text and
returns "" where it is fine, else what was expected and what to do. The pattern beside `x-rule` serves
editors; a value must satisfy both.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from reconciler.desired.units import DURATION, SIZE, parse_duration, parse_size

_SCHEMES = ("https", "ssh", "git", "http", "file")
_HELPER = re.compile(r"[A-Za-z0-9+.-]+::")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/]*)(?P<path>/.*)?\Z", re.DOTALL)
_SCP = re.compile(r"(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>[^-\s:].*)\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?\Z")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_SEALED = re.compile(r"age:[A-Za-z0-9+/]+={0,2}\Z")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_BRANCH_FORBIDDEN = re.compile(r"[\x00-\x20~^:?*\[\\\x7f]|\.\.|@\{|//|/\.|\.lock(?:/|\Z)|[./]\Z")


def repository(text: str, _node: Mapping[str, Any]) -> str:
    """A repository that Git can name without running anything, and without a secret in it."""
    if _UNPRINTABLE.search(text):
        return "a repository is on one line and has no control characters"
    if text.startswith("-"):
        return "a repository cannot begin with -, since programs read that as an option"
    if _HELPER.match(text):
        return f"{text.partition('::')[0]}:: would run a program: use https://, ssh:// or an absolute path"
    if text.startswith("/"):
        return "" if ".." not in text.split("/") else "a path of this host has no .. in it"
    url = _URL.match(text)
    if url:
        return _url(url["scheme"], url["authority"], url["path"] or "")
    if _SCP.match(text):
        return "" if not re.search(r"\s", text) else "a repository's address has no spaces"
    return "a repository is https://…, ssh://…, git@host:path, git://…, file:///… or an absolute path of this host"


def _url(scheme: str, authority: str, path: str) -> str:
    if scheme not in _SCHEMES:
        return f"{scheme}:// is not supported: use one of {', '.join(f'{each}://' for each in _SCHEMES)}"
    user, at, host = authority.rpartition("@")
    if at and (":" in user or scheme != "ssh"):
        return "an address in Git holds no user, password or token: leave out what stands before the @"
    if re.search(r"[\s?#]", path):
        return "a repository's address has no spaces, ? or #"
    if scheme == "file":
        return "" if not authority and ".." not in path.split("/") else "a file URL is file:///absolute/path"
    match = _HOST.match(host)
    if not match or user.startswith("-") or (match["port"] and not 0 < int(match["port"]) < 65536):
        return f"{scheme}:// is followed by a host name, such as {scheme}://git.example.com/acme/blog.git"
    return "" if len(path) > 1 else "the address names a host, but no repository on it"


def branch(text: str, _node: Mapping[str, Any]) -> str:
    """Git's own rules for the short name of a branch."""
    if text.startswith("refs/"):
        return f"write the short name, such as {text.removeprefix('refs/heads/') or 'main'}"
    if text.startswith(("-", "/", ".")) or text == "@" or _BRANCH_FORBIDDEN.search(text):
        return (
            "Git allows no such branch name: no spaces, none of ~^:?*[\\, no .., no leading - or ., no trailing / or ."
        )
    return ""


def relative_path(text: str, node: Mapping[str, Any]) -> str:
    """A path below a folder of the repository, in its one spelling."""
    expected = str(node["errorMessage"])
    if "\\" in text:
        return f"{expected}: folders are separated by /, not by \\"
    if text.startswith("/") or ".." in text.split("/"):
        return f"{expected}: it cannot leave the repository"
    if _UNPRINTABLE.search(text) or text.startswith("-") or not text:
        return expected
    plain = posixpath.normpath(text)
    if plain != text or (plain == "." and node.get("default") != "."):
        return f"write {plain}" if plain != "." else expected
    return ""


def domain(text: str, node: Mapping[str, Any]) -> str:
    """A host name as DNS and Caddy understand it: lower case, no port, no wildcard."""
    bare = text.strip().lower().removeprefix("https://").removeprefix("http://").split("/")[0].rstrip(".")
    for present, sentence in (
        ("://" in text or "/" in text, f"leave out scheme and path: {bare}"),
        ("*" in text, "wildcards are not supported: list each host name"),
        ("{" in text or "}" in text, "braces are refused, since Caddy would replace what is in them"),
        (":" in text, f"leave out the port: {bare.partition(':')[0]}"),
        (text.endswith("."), f"leave out the trailing dot: {bare}"),
        (not text.isascii(), f"write it in punycode{_punycode(bare)}"),
        (text != text.lower(), f"write it in lower case: {text.lower()}"),
        (
            len(text) > int(node.get("maxLength", 253)),
            f"a host name has at most {node.get('maxLength', 253)} characters",
        ),
    ):
        if present:
            return sentence
    labels = text.split(".")
    if labels[-1].isdigit():
        return "an address is not a host name: write a name, such as blog.example.com"
    if not all(_LABEL.match(label) for label in labels):
        return "the parts of a host name are letters, digits and hyphens, up to 63 of them, with dots between"
    return ""


def _punycode(text: str) -> str:
    try:
        return f": {text.encode('idna').decode()}"
    except UnicodeError:
        return " (xn--…)"


def duration(text: str, node: Mapping[str, Any]) -> str:
    """A number with a unit, within the limits of the key."""
    return _measure(text, node, DURATION, parse_duration)


def size(text: str, node: Mapping[str, Any]) -> str:
    """A number of bytes with a unit, within the limits of the key."""
    return _measure(text, node, SIZE, parse_size)


def _measure(text: str, node: Mapping[str, Any], form: re.Pattern[str], parse: Callable[[str], float]) -> str:
    low, high = node["x-range"]
    if form.match(text) and parse(low) <= parse(text) <= parse(high):
        return ""
    return str(node["errorMessage"])


def sealed(text: str, node: Mapping[str, Any]) -> str:
    """The armoured form that `gitstead seal` prints; whether it can be opened is told later."""
    return "" if _SEALED.match(text) else str(node["errorMessage"])


def how_to_write_command(text: str) -> str:
    """ ": write [...]", the list that a command written as one text stands for; "" where quotes are not closed."""
    try:
        words = shlex.split(text)
    except ValueError:
        return ""
    return ": write [" + ", ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words) + "]"


RULES: Mapping[str, Callable[[str, Mapping[str, Any]], str]] = {
    "repository": repository,
    "branch": branch,
    "path": relative_path,
    "domain": domain,
    "duration": duration,
    "size": size,
    "sealed": sealed,
}
