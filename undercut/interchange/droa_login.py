"""Signing in to a DeepRacer on AWS: what its site says of itself, Cognito's tokens, and the file that keeps them.

As its website does it (deepracer-on-aws): `env.js` names the pools and the API (website.ts), a user pool's password
gives tokens (userIdentity.ts: userPassword), and the identity pool gives keys of AWS for an hour for them
(authUtils.ts), with which every request is signed (middleware.ts, api.ts: awsSigv4).
"""

import os
import re
import stat
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from pydantic import Field, TypeAdapter

from contract.errors import InputError, UndercutError
from contract.fields import parse_json, validated
from contract.stores.local import write_private

TIMEOUT_S = 20.0
_MAX_PAGE_BYTES = 1 << 16
_SPARE_S = 120.0
"""Keys that end sooner are fetched anew."""
_HOW = "undercut droa login https://SITE"


@dataclass(frozen=True, slots=True)
class Site:
    """A deployment: what its env.js says."""

    url: str
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    user_pool: Annotated[str, Field(alias="userPoolId", pattern=r"^[\w-]+_[0-9a-zA-Z]+$")]
    client: Annotated[str, Field(alias="userPoolClientId", pattern=r"^[\w+]+$")]
    identity_pool: Annotated[str, Field(alias="identityPoolId", pattern=r"^[\w-]+:[0-9a-f-]+$")]
    api: Annotated[str, Field(alias="apiEndpointUrl")]
    bucket: Annotated[str, Field(alias="uploadBucketName", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]


@dataclass(frozen=True, slots=True)
class Keys:
    """Temporary keys of AWS. `until_s` is in seconds since the epoch."""

    access: str = field(repr=False)
    secret: str = field(repr=False)
    token: str = field(repr=False)
    until_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Login:
    """Who is signed in where. The password is not in it; the refresh token is good for a day."""

    site: Site
    user: str
    user_agent: str
    refresh_token: str = field(repr=False)
    keys: Keys


_LOGIN = TypeAdapter(Login)


class DroaError(UndercutError):
    """DeepRacer on AWS did not do what was asked."""

    def __init__(self, what: str, rule: str, fix: str) -> None:
        super().__init__(what, rule, fix)


def login_file() -> Path:
    """Where the sign-in is kept, for this user alone."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "undercut" / "droa.json"


def read_site(url: str) -> Site:
    """The deployment behind a site's address; InputError when that is none."""
    parts = urlsplit(url if "://" in url else f"https://{url}")
    _check_address(parts.geturl(), "SITE")
    address = f"{parts.scheme}://{parts.netloc}/env.js"
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
            text = answer.read(_MAX_PAGE_BYTES).decode("utf-8", errors="replace")
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        rule = "the site of a DeepRacer on AWS has an env.js that can be read"
        raise InputError(address, str(reason), rule, "check the address that you open it by in a browser") from None
    found = re.search(r"window\.EnvironmentConfig\s*=\s*(\{.*?\})\s*;", text, re.DOTALL)
    if found is None:
        rule = "env.js sets window.EnvironmentConfig"
        raise InputError(address, text[:60], rule, "check the address: this is another site")
    content = parse_json(found[1], address, "the deployment is broken; tell whoever runs it", strict=False)
    if isinstance(content, dict):
        content["url"] = f"{parts.scheme}://{parts.netloc}"
    site = validated(TypeAdapter(Site), content, address, "the deployment is broken; tell whoever runs it")
    _check_address(site.api, f"{address}: apiEndpointUrl")
    return replace(site, api=site.api.rstrip("/"))


def _check_address(url: str, where: str) -> None:
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")
    if not parts.hostname or parts.username or not (parts.scheme == "https" or local):
        raise InputError(where, url, "an address that begins with https://", f"for example {_HOW}")


def sign_in(site: Site, user: str, password: str, user_agent: str) -> Login:
    """Tokens and keys for a password. DroaError says what Cognito says."""
    cognito = _client("cognito-idp", site)
    given = {"USERNAME": user, "PASSWORD": password}
    answer = _answer(
        lambda: cognito.initiate_auth(AuthFlow="USER_PASSWORD_AUTH", AuthParameters=given, ClientId=site.client),
        f"signing in {user}",
    )
    if "ChallengeName" in answer:
        challenge = answer["ChallengeName"]
        fix = f"sign in at {site.url} once, where that is asked for; then again here"
        raise DroaError(f"Cognito asks {user} for {challenge} first", "here a name and a password sign in", fix)
    tokens = answer["AuthenticationResult"]
    keys = _keys(site, str(tokens["IdToken"]))
    return Login(site, user, user_agent, str(tokens["RefreshToken"]), keys)


def fresh(login: Login, now_s: float | None = None) -> Login:
    """With keys that are still good, fetched by the refresh token where they are not, and kept."""
    if login.keys.until_s - _SPARE_S > (time.time() if now_s is None else now_s):
        return login
    cognito = _client("cognito-idp", login.site)
    answer = _answer(
        lambda: cognito.initiate_auth(
            AuthFlow="REFRESH_TOKEN_AUTH",
            AuthParameters={"REFRESH_TOKEN": login.refresh_token},
            ClientId=login.site.client,
        ),
        f"signing in {login.user} again",
    )
    renewed = replace(login, keys=_keys(login.site, str(answer["AuthenticationResult"]["IdToken"])))
    keep(renewed)
    return renewed


def _keys(site: Site, id_token: str) -> Keys:
    identities = _client("cognito-identity", site)
    logins = {f"cognito-idp.{site.region}.amazonaws.com/{site.user_pool}": id_token}
    what = "asking the identity pool for keys"
    identity = _answer(lambda: identities.get_id(IdentityPoolId=site.identity_pool, Logins=logins), what)["IdentityId"]
    answer = _answer(lambda: identities.get_credentials_for_identity(IdentityId=identity, Logins=logins), what)
    found = answer["Credentials"]
    return Keys(found["AccessKeyId"], found["SecretKey"], found["SessionToken"], found["Expiration"].timestamp())


def _client(service: str, site: Site) -> Any:
    """These two services take tokens in place of a signature: no keys of this machine's user are looked for."""
    config = Config(
        signature_version=UNSIGNED,
        connect_timeout=TIMEOUT_S,
        read_timeout=TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": 3},
    )
    return boto3.session.Session().client(service, region_name=site.region, config=config)


def _answer(ask: Any, what: str) -> dict[str, Any]:
    import botocore.exceptions as aws

    try:
        answer: dict[str, Any] = ask()
    except aws.ClientError as error:
        details = error.response.get("Error", {})
        code, message = str(details.get("Code")), str(details.get("Message"))
        fix = f"{_HOW}, with name and password as on the site" if code.startswith("NotAuth") else "see the message"
        raise DroaError(
            f"{what} failed: {code}: {message}", "Cognito takes the name, the password or the token", fix
        ) from None
    except (aws.BotoCoreError, ValueError) as error:
        raise DroaError(f"{what} failed: {error}", "AWS can be reached from here", "see the network") from None
    return answer


# --- the file ---------------------------------------------------------------------------------------------------------


def keep(login: Login) -> Path:
    """Write the sign-in, readable for this user alone from its first byte on; where it is."""
    path = login_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, _LOGIN.dump_json(login, by_alias=True, indent=2))
    return path


def kept() -> Login:
    """The sign-in of this user; InputError when there is none, or others can read it."""
    path = login_file()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(str(path), "no file", "somebody is signed in", _HOW) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), str(error), "the file of a sign-in can be read", f"delete it, and {_HOW}") from None
    if mode & 0o077:
        rule = "tokens are for their owner's eyes: mode 600"
        raise InputError(str(path), f"mode {mode:o}", rule, f"delete it, and {_HOW}")
    fix = f"delete it, and {_HOW}"
    return validated(_LOGIN, parse_json(text, str(path), fix), str(path), fix)


def forget() -> bool:
    """Delete the sign-in; whether there was one."""
    there = login_file().exists()
    login_file().unlink(missing_ok=True)
    return there
