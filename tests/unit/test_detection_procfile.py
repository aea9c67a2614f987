"""What a Procfile and a start script may say: plain words; everything that needs a shell is refused by name."""

from __future__ import annotations

import pytest

from reconciler.desired.detection.procfile import Procfile, parse_command, read_procfile


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gunicorn app:app", ("gunicorn", "app:app")),
        ("  node   server.js\t--x ", ("node", "server.js", "--x")),
        ("exec puma -C config/puma.rb", ("puma", "-C", "config/puma.rb")),
        ("uvicorn a:b --port $PORT", ("uvicorn", "a:b", "--port", "$PORT")),
        ("gunicorn -b 0.0.0.0:${PORT} a", ("gunicorn", "-b", "0.0.0.0:${PORT}", "a")),
        ("gunicorn -b :${PORT:-8000} a", ("gunicorn", "-b", ":${PORT}", "a")),
        ('gunicorn -b ":${PORT-8000}" a', ("gunicorn", "-b", ":${PORT}", "a")),
        ("gunicorn 'shop:make()' \"two words\"", ("gunicorn", "shop:make()", "two words")),
        ("uvicorn a --forwarded-allow-ips=*", ("uvicorn", "a", "--forwarded-allow-ips=*")),
        ("node a#b.js", ("node", "a#b.js")),
        (r"node a\ b.js", ("node", "a b.js")),
        ("python app.py --name=Zoë", ("python", "app.py", "--name=Zoë")),
    ],
)
def test_plain_words_are_taken_as_they_are(text: str, words: tuple[str, ...]) -> None:
    assert parse_command(text) == (words, "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("python migrate.py && gunicorn a", "uses `&&`"),
        ("python a;python b", "uses `;`"),
        ("python a | tee log", "uses `|`"),
        ("python a > log", "uses `>`"),
        ("python a 2>&1", "uses `>&`"),
        ("(python a)", "uses `(`"),
        ("python a &", "uses `&`"),
        ("python `which a`", "output of another command"),
        ("python $(which a)", "output of another command"),
        ("python $HOME/a.py", "a variable other than $PORT in $HOME/a.py"),
        ("python ${WORKERS:-2}", "a variable other than $PORT"),
        ("gunicorn -b :$PORTS a", "a variable other than $PORT"),
        ("NODE_ENV=production node a.js", "sets NODE_ENV=production, which belongs into run.env"),
        ("node 'a.js", "without its end"),
        ("node a.js \\", "without its end"),
        ("node '' a.js", "empty word"),
        ("node a.js # the server", "has a comment"),
        ("", "says nothing"),
        ("exec", "says nothing"),
        ("node \x1b[2J", "cannot be printed"),
        ("node a\nb", "cannot be printed"),
        ("node \u202egpj.exe", "cannot be printed"),
        ("node " + "x" * 2_000, "longer than 2000 characters"),
    ],
)
def test_what_needs_a_shell_is_refused_and_named(text: str, why: str) -> None:
    words, refusal = parse_command(text)
    assert words == ()
    assert why in refusal


def test_the_web_line_is_found_among_others_with_its_number() -> None:
    found = read_procfile("# comment\n\nrelease: ./migrate\nweb: gunicorn a:b\nworker: celery\n")
    assert found.command == ("gunicorn", "a:b")
    assert found.types == ("django", "flask", "fastapi", "python")
    assert found.evidence == 'Procfile line 4 says "gunicorn a:b"'
    assert [note.partition(" asks")[0] for note in found.notes] == ["Procfile line 3", "Procfile line 5"]


def test_windows_line_ends_and_spaces_do_no_harm() -> None:
    assert read_procfile("web:node a.js\r\nworker : x\r\n").command == ("node", "a.js")


def test_of_two_web_lines_the_first_counts() -> None:
    found = read_procfile("web: node a.js\nweb: node b.js\n")
    assert found.command == ("node", "a.js")
    assert found.notes == ("Procfile line 2 is a second web line: the first one counts.",)


def test_a_web_line_that_is_refused_says_why_and_what_to_do() -> None:
    found = read_procfile("web: cd src && node a.js\n")
    assert found == Procfile(
        notes=(
            "Procfile line 1 uses `&&`, which needs a shell: it is not used; "
            "write it as plain words, or set run.command.",
        )
    )


def test_a_program_of_no_known_language_fits_all() -> None:
    assert read_procfile("web: bin/server").types == ()


def test_many_lines_are_told_in_few_notes() -> None:
    text = "\n".join(f"worker{number}: x" for number in range(10_000))
    assert len(read_procfile(text).notes) == 6
