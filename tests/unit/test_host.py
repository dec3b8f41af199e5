"""Host settings: what the environment says about store and channel, and what it must not say."""

from pathlib import Path

import pytest

from contract.errors import InputError
from contract.host import SWITCHES, HostSettings, RedisAddress, S3Address


def test_nothing_set_means_folders_and_no_redis() -> None:
    assert HostSettings.load({"PATH": "/bin", "UNDERCUT_STORE": " "}) == HostSettings(None, None)


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [
        ("s3://runs", "runs", ""),
        ("s3://runs/", "runs", ""),
        ("s3://my.bucket-1/a/b c/", "my.bucket-1", "a/b c"),
    ],
)
def test_store_is_a_place_in_a_bucket(text: str, bucket: str, prefix: str) -> None:
    store = HostSettings.load({"UNDERCUT_STORE": text}).store
    assert store == S3Address(bucket, prefix)
    assert S3Address.parse(str(store), "again") == store
    assert str(store.below("runs/x")) == "/".join(part for part in (f"s3://{bucket}", prefix, "runs/x") if part)


@pytest.mark.parametrize(
    "text",
    ["runs", "S3://runs", "s3://", "s3:///x", "s3://UPPER", "s3://ab", "s3://a..b", "s3://runs/a//b", "s3://runs/../x"],
)
def test_a_store_that_is_no_place_in_a_bucket_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="environment: UNDERCUT_STORE") as error:
        HostSettings.load({"UNDERCUT_STORE": text})
    assert repr(text) in str(error.value)
    assert "s3://my-bucket/my-runs" in str(error.value)


def test_redis_with_all_its_parts_and_with_none(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("correct horse\n")
    values = {"UNDERCUT_REDIS_URL": "rediss://trainer@redis.local:7000/3", "UNDERCUT_REDIS_PASSWORD_FILE": str(secret)}
    redis = HostSettings.load(values).redis
    assert redis == RedisAddress("redis.local", 7000, 3, "trainer", True, secret)
    assert redis.password() == "correct horse"
    assert str(redis) == "rediss://trainer@redis.local:7000/3"
    bare = HostSettings.load({"UNDERCUT_REDIS_URL": "redis://[::1]"}).redis
    assert bare == RedisAddress("::1", 6379, 0, "default", False, None)
    assert bare.password() is None


@pytest.mark.parametrize("url", ["redis", "http://host", "redis://", "redis://host:x", "redis://host:0", "redis://h/a"])
def test_a_redis_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"(?s)environment: UNDERCUT_REDIS_URL.*redis://host:6379/0"):
        HostSettings.load({"UNDERCUT_REDIS_URL": url})


def test_a_password_in_the_url_is_refused_and_not_shown() -> None:
    with pytest.raises(InputError, match="UNDERCUT_REDIS_PASSWORD_FILE") as error:
        HostSettings.load({"UNDERCUT_REDIS_URL": "redis://me:hunter2@host"})
    assert "hunter2" not in str(error.value)


def test_a_password_file_that_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    values = {"UNDERCUT_REDIS_URL": "redis://host", "UNDERCUT_REDIS_PASSWORD_FILE": str(tmp_path / "password")}
    redis = HostSettings.load(values).redis
    assert redis is not None
    with pytest.raises(InputError, match="UNDERCUT_REDIS_PASSWORD_FILE"):
        redis.password()
    (tmp_path / "password").write_text("\n")
    with pytest.raises(InputError, match="the password stands in this file"):
        redis.password()


def test_a_password_file_without_redis_is_a_mistake() -> None:
    with pytest.raises(InputError, match="set UNDERCUT_REDIS_URL as well"):
        HostSettings.load({"UNDERCUT_REDIS_PASSWORD_FILE": "/run/secrets/redis"})


def test_an_unknown_name_is_an_error_with_the_nearest_known_one() -> None:
    with pytest.raises(InputError, match=r"did you mean .UNDERCUT_STORE"):
        HostSettings.load({"UNDERCUT_STOER": "s3://runs"})


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_on_or_off_in_every_usual_word(name: str) -> None:
    field = name.removeprefix("UNDERCUT_").lower()
    for text in ("1", "true", "True", "YES", " on "):
        assert getattr(HostSettings.load({name: text}), field) is True, text
    for text in ("0", "false", "FALSE", "No", "off", ""):
        assert getattr(HostSettings.load({name: text}), field) is False, text
    assert getattr(HostSettings.load({}), field) is False


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("text", ["2", "y", "enabled", "tru", "-1", "1.0"])
def test_a_switch_that_is_neither_is_refused(name: str, text: str) -> None:
    with pytest.raises(InputError, match=rf"(?s)environment: {name}.*true, yes, on, or 0") as error:
        HostSettings.load({name: text})
    assert repr(text) in str(error.value) and SWITCHES[name] in str(error.value)
