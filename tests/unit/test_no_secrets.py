"""No secret in a file of the project, in an image's context, or in what the project writes; and a net that is tried."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPO

PATTERNS = {
    "access key of AWS": re.compile(rb"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Z0-9])"),
    "secret key of AWS": re.compile(
        rb"(?i)aws_?(?:secret)?_?(?:access)?_?key\W{1,5}['\"]?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
    ),
    "private key": re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/]{20}"),
    "token of GitHub": re.compile(rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60})"),
    "token of a registry": re.compile(
        rb"\b(?:pypi-AgE[A-Za-z0-9_-]{50}|npm_[A-Za-z0-9]{36}|dckr_pat_[A-Za-z0-9_-]{20})"
    ),
    "token of Slack": re.compile(rb"\bxox[abprs]-[A-Za-z0-9-]{20}"),
    "signed token": re.compile(rb"\beyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{20}"),
    "password in an address": re.compile(
        rb"\b[a-z][a-z0-9+]{2,10}://[^\s:/@'\"{}<>$]{1,40}:(?!\*\*\*)[^\s/@'\"{}<>$]{6,60}@[a-z0-9]"
    ),
    "presigned address": re.compile(rb"X-Amz-Signature=[0-9a-f]{64}"),
}
FAKE = (
    b"AKIATESTTESTTESTTEST",  # of tests that speak to servers of their own
    b"AKIAIOSFODNN7EXAMPLE",  # AWS's own example
    b"me:hunter2@",  # of tests that a password in an address is refused
)
EXAMPLES = {
    "access key of AWS": b"key = 'AKIA" + b"QWERTY2345ABCDEF'",
    "secret key of AWS": b"aws_secret_access_key = " + b"wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYab",
    "private key": b"-----BEGIN RSA PRIVATE " + b"KEY-----\nMIIEpAIBAAKCAQEA1234567890",
    "token of GitHub": b"ghp_" + b"a" * 36,
    "token of a registry": b"npm_" + b"b" * 36,
    "token of Slack": b"xoxb-" + b"1234567890-abcdefghij",
    "signed token": b"eyJhbGciOiJIUzI1NiJ9" + b".eyJzdWIiOiIxMjM0NTY3ODkwIn0." + b"SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV",
    "password in an address": b"redis://default:" + b"correcthorse@db.example",
    "presigned address": b"X-Amz-Signature=" + b"0123456789abcdef" * 4,
}


def leaks(content: bytes) -> list[str]:
    """What kinds of secrets there are in it."""
    for fake in FAKE:
        content = content.replace(fake, b"")
    return [name for name, pattern in PATTERNS.items() if pattern.search(content)]


@pytest.mark.parametrize("name", PATTERNS)
def test_the_net_catches(name: str) -> None:
    assert leaks(b"x = 1\n" + EXAMPLES[name] + b"\n") == [name]


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPO,
        capture_output=True,
        check=True,
    )
    return [REPO / name.decode() for name in listed.stdout.split(b"\0") if name and (REPO / name.decode()).is_file()]


def test_no_file_of_the_project_holds_a_secret() -> None:
    files = tracked()
    assert len(files) > 300
    found = {str(path.relative_to(REPO)): kinds for path in files if (kinds := leaks(path.read_bytes()))}
    assert not found
    names = re.compile(
        r"(?:^|/)(?:\.env(?:\..*)?|.*\.pem|.*\.p12|id_(?:rsa|ed25519)|credentials|\.netrc|\.pypirc|secrets?/.+)$"
    )
    assert [str(path) for path in files if names.search(path.relative_to(REPO).as_posix())] == []


def test_images_take_nothing_but_what_is_listed() -> None:
    """The context begins empty, so that .env, secrets, runs and credentials cannot get into a layer by chance."""
    rules = (REPO / "compose" / "Dockerfile.dockerignore").read_text().split()
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert not {"compose", "compose/secrets", "tests", ".", "**", "*", ".git"} & allowed
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", "compose/secrets/redis_password", "compose/.env", "runs/a/run.json"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(ignored.stdout.split()) == 3
    for path in REPO.glob("compose/**/Dockerfile"):
        text = path.read_text()
        assert not re.search(r"(?im)^\s*(?:ARG|ENV)\s+\S*(?:PASSWORD|SECRET|TOKEN|ACCESS_KEY)", text), path
        assert not re.search(r"(?m)^\s*ADD\s+https?:", text), path
