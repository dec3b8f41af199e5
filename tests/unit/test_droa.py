"""DeepRacer on AWS: signing in, models, imports and submissions, against its API by its Smithy model and Cognito."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from contract.errors import InputError
from tests.aws_server import REGION, AwsServer
from tests.droa_server import OPERATIONS, DroaServer
from tests.exported import driven_run
from undercut.cli.main import app
from undercut.interchange import droa, droa_login
from undercut.interchange.droa_login import DroaError

PASSWORD = "Correct-horse-7"


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsServer]:
    with AwsServer() as server:
        yield server


@pytest.fixture
def site(aws: AwsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DroaServer]:
    """A deployment with one user, in a working directory and a home of the test's own."""
    monkeypatch.chdir(tmp_path)
    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(droa, "_POLL_S", 0.01)
    pools, identities, store = (aws.client(it) for it in ("cognito-idp", "cognito-identity", "s3"))
    pool = pools.create_user_pool(PoolName="p")["UserPool"]["Id"]
    flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    client = pools.create_user_pool_client(UserPoolId=pool, ClientName="WebClient", ExplicitAuthFlows=flows)
    pools.admin_create_user(UserPoolId=pool, Username="ann", TemporaryPassword=PASSWORD)
    pools.admin_set_user_password(UserPoolId=pool, Username="ann", Password=PASSWORD, Permanent=True)
    pools.admin_create_user(UserPoolId=pool, Username="new", TemporaryPassword=PASSWORD)
    identity = identities.create_identity_pool(IdentityPoolName="i", AllowUnauthenticatedIdentities=False)
    server = DroaServer(
        region=REGION,
        user_pool=pool,
        client=client["UserPoolClient"]["ClientId"],
        identity_pool=identity["IdentityPoolId"],
        # what moto's identity pools give
        secrets={"TESTACCESSKEY12345": ("ABCSECRETKEY", "ABC12345")},
    )
    store.create_bucket(Bucket=server.bucket)

    def uploaded(bucket: str, prefix: str) -> list[str]:
        return [it["Key"] for it in store.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]

    server.uploaded = uploaded
    with server:
        yield server


@pytest.fixture
def signed_in(site: DroaServer) -> DroaServer:
    droa_login.keep(droa_login.sign_in(droa_login.read_site(site.url), "ann", PASSWORD, "undercut"))
    return site


def undercut(*words: str, text: str = "") -> Any:
    return CliRunner().invoke(app, ["droa", *words], input=text)


def model_folder(folder: Path) -> Path:
    """As `undercut export --layout droa` leaves one."""
    for name in ("model_metadata.json", "ip/hyperparameters.json", "model/model_metadata.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    (folder / "reward_function.py").write_text("def reward_function(params):\n    return 1.0\n")
    (folder / "training_params.yaml").write_text("WORLD_NAME: reinvent_base\n")
    (folder / "model" / "1_Step-10.ckpt.index").write_bytes(b"index")
    (folder / "logs.tar.gz").write_bytes(b"left out")
    return folder


def test_signing_in_keeps_tokens_for_this_user_alone_and_no_password(site: DroaServer, tmp_path: Path) -> None:
    done = undercut("login", site.url, "--user", "ann", text=f"{PASSWORD}\n")
    assert done.exit_code == 0, done.output
    path = tmp_path / "config" / "undercut" / "droa.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert PASSWORD not in path.read_text() and PASSWORD not in done.output
    login = droa_login.kept()
    assert (login.user, login.site.bucket, login.keys.access) == ("ann", "droa-uploads", "TESTACCESSKEY12345")
    for secret in ("ABCSECRETKEY", login.refresh_token):
        assert secret not in repr(login) and secret not in done.output
    assert [it.name for it in path.parent.iterdir()] == ["droa.json"]
    assert undercut("logout").output == "signed out\n" and not path.exists()


def test_a_wrong_password_and_a_first_sign_in_say_what_to_do(site: DroaServer) -> None:
    found = droa_login.read_site(site.url)
    with pytest.raises(DroaError, match="NotAuthorizedException"):
        droa_login.sign_in(found, "ann", "Wrong-horse-7", "undercut")
    with pytest.raises(DroaError, match=r"NEW_PASSWORD_REQUIRED(.|\n)*sign in at http"):
        droa_login.sign_in(found, "new", PASSWORD, "undercut")
    assert not droa_login.login_file().exists()


def test_a_file_that_others_can_read_is_refused(signed_in: DroaServer) -> None:
    droa_login.login_file().chmod(0o640)
    with pytest.raises(InputError, match="mode 600"):
        droa_login.kept()


@pytest.mark.parametrize("url", ["http://example.com", "ftp://x", "https://", "https://me:pw@example.com"])
def test_passwords_go_to_https_alone(url: str) -> None:
    with pytest.raises(InputError, match="https://"):
        droa_login.read_site(url)


def test_another_site_is_told(site: DroaServer, aws: AwsServer) -> None:
    with pytest.raises(InputError, match=r"env\.js"):
        droa_login.read_site(aws.endpoint)
    site.bucket = "Not A Bucket"
    with pytest.raises(InputError, match="uploadBucketName"):
        droa_login.read_site(site.url)


def test_keys_that_run_out_are_fetched_anew(signed_in: DroaServer) -> None:
    login = droa_login.kept()
    assert droa_login.fresh(login, login.keys.until_s - 1000.0) is login
    later = droa_login.fresh(login, login.keys.until_s)
    assert later is not login and later.keys.access == login.keys.access
    assert droa_login.kept() == later


def test_models_of_all_pages_newest_first(signed_in: DroaServer) -> None:
    for day in (3, 9, 5):
        signed_in.add_model(f"m{day}", day=day)
    done = undercut("models", "--json")
    assert done.exit_code == 0, done.output
    listed = json.loads(done.stdout)
    assert [it["name"] for it in listed] == ["m9", "m5", "m3"]
    assert listed[0]["createdAt"].startswith("2026-11-09T12:00:00")
    assert [name for name, _, _ in signed_in.calls] == ["ListModels", "ListModels"]


def test_a_folder_is_uploaded_and_imported(signed_in: DroaServer, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "fast_one")
    done = undercut("import", str(folder), "--description", "from my machine", "--minutes", "1")
    assert done.exit_code == 0, done.output
    _, agent, body = next(it for it in signed_in.calls if it[0] == "ImportModel")
    assert (body["modelName"], body["modelDescription"]) == ("fast-one", "from my machine")
    assert agent == "undercut"
    keys = signed_in.uploaded(body["s3Bucket"], body["s3Path"])
    assert sorted(key.removeprefix(f"{body['s3Path']}/") for key in keys) == [
        *("ip/hyperparameters.json", "model/1_Step-10.ckpt.index", "model/model_metadata.json"),
        *("model_metadata.json", "reward_function.py", "training_params.yaml"),
    ]
    assert "READY" in done.output


def test_a_run_is_exported_for_it(signed_in: DroaServer) -> None:
    driven_run("mine.1", car_color="Red")
    done = undercut("import", "mine.1", "--no-wait")
    assert done.exit_code == 0, done.output
    assert "give --world NAME" in done.output
    _, _, body = next(it for it in signed_in.calls if it[0] == "ImportModel")
    assert body["modelName"] == "mine-1"
    keys = [key.removeprefix(f"{body['s3Path']}/") for key in signed_in.uploaded(body["s3Bucket"], body["s3Path"])]
    assert {"ip/hyperparameters.json", "model/model_3.pb", "model/deepracer_checkpoints.json"} <= set(keys)


def test_what_cannot_be_imported_is_told_before_it_is_uploaded(signed_in: DroaServer, tmp_path: Path) -> None:
    client = droa.DroaClient.of(droa_login.kept())
    folder, before = model_folder(tmp_path / "fast"), signed_in.uploaded(signed_in.bucket, "")
    with pytest.raises(InputError, match="letters, digits and hyphens"):
        droa.import_source(client, str(folder), "a_b", "", None, print)
    (folder / "reward_function.py").unlink()
    with pytest.raises(InputError, match=r"no reward_function\.py"):
        droa.import_source(client, str(folder), "fast", "", None, print)
    with pytest.raises(InputError, match="a run, or a folder"):
        droa.import_source(client, "nowhere", "fast", "", None, print)
    assert not signed_in.calls and signed_in.uploaded(signed_in.bucket, "") == before


def test_a_model_is_submitted_by_name_and_waited_for(signed_in: DroaServer) -> None:
    model, board = signed_in.add_model("fast"), signed_in.add_leaderboard("Friday cup")
    done = undercut("submit", "fast", "Friday cup", "--wait", "--minutes", "1", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["status"], told["stats"]["bestLapTime"]) == ("COMPLETED", 12_345)
    (submission,) = signed_in.submissions[board]
    assert submission["modelId"] == model


def test_what_the_api_refuses_is_told_in_words(signed_in: DroaServer) -> None:
    client = droa.DroaClient.of(droa_login.kept())
    model, board = signed_in.add_model("fast", "TRAINING"), signed_in.add_leaderboard("cup")
    with pytest.raises(DroaError, match=r"create_submission failed: BadRequestError: Model is not in a submittable"):
        client.submit(model, board)
    with pytest.raises(InputError, match=r"did you mean 'fast'"):
        client.model("fest")
    with pytest.raises(DroaError, match=r"NotFoundError"):
        client.submit("A" * 15, board)
    signed_in.refuses = "undercut"
    with pytest.raises(DroaError, match=r"Bot Control(.|\n)*docs/droa\.md"):
        client.models()


def test_a_signature_by_other_keys_is_refused(signed_in: DroaServer) -> None:
    signed_in.secrets = {"TESTACCESSKEY12345": ("ANOTHERSECRET", "ABC12345")}
    with pytest.raises(DroaError, match="does not match"):
        droa.DroaClient.of(droa_login.kept()).models()


def test_a_wait_ends_at_its_deadline(signed_in: DroaServer) -> None:
    client = droa.DroaClient.of(droa_login.kept())
    board = signed_in.add_leaderboard("cup")
    with pytest.raises(DroaError, match="has not ended yet"):
        client.raced(board, "A" * 15, 0.05)


def test_the_client_asks_what_the_published_model_has() -> None:
    """Paths, methods and required members, against the table of the server, which was written by itself."""
    service = json.loads((droa.MODELS / "deepracer" / "1.0" / "service-2.json").read_text())
    assert set(service["operations"]) == set(OPERATIONS)
    for name, operation in OPERATIONS.items():
        asked = service["operations"][name]
        assert asked["http"] == {"method": operation.method, "requestUri": operation.uri}
        shape = service["shapes"][asked["input"]["shape"]]
        labels = [part.strip("{}") for part in operation.uri.split("/") if part.startswith("{")]
        required = [it for it in (*operation.body, *operation.query) if not it.endswith("?")]
        assert set(shape.get("required", [])) == {*labels, *required}
        assert set(shape["members"]) == {*labels, *(it.rstrip("?") for it in (*operation.body, *operation.query))}
        assert set(service["shapes"][asked["output"]["shape"]]["required"]) == set(operation.answers)
