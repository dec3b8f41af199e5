"""Images: what the registry has is known by its digest and not sent again; what it has not the engine pushes."""

import hashlib
import importlib.metadata
import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from contract.errors import InputError
from tests.aws_server import REGISTRY
from tests.cloud_support import Here, here
from tests.docker_engine import docker, need_engine
from undercut.backends.aws import images
from undercut.backends.aws.images import LocalImage, push, pushed, registry_digest, tag_of
from undercut.backends.aws.session import CloudError, CloudSession
from undercut.backends.aws.settings import CloudSettings

__all__ = ["here"]
pytestmark = pytest.mark.slow
REPOSITORY = "undercut-trainer"


def manifest_of(config: str) -> str:
    empty: list[Any] = []
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    image = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 1, "digest": config}
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "config": image, "layers": empty})


def test_an_image_that_the_registry_has_is_not_sent_again(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    ecr = here.server.client("ecr")
    ecr.create_repository(repositoryName=REPOSITORY)
    image = LocalImage("undercut-trainer:0.1.0", "sha256:" + "a" * 64)
    session = CloudSession(CloudSettings.load())
    assert tag_of(image) == "0.1.0-aaaaaaaaaaaa"
    assert registry_digest(session, f"{REGISTRY}/{REPOSITORY}", tag_of(image), image) == ""
    ecr.put_image(repositoryName=REPOSITORY, imageTag=tag_of(image), imageManifest=manifest_of(image.digest))
    digest = registry_digest(session, f"{REGISTRY}/{REPOSITORY}", tag_of(image), image)
    assert digest.startswith("sha256:") and digest != image.digest
    # an engine that names images by their manifest
    assert registry_digest(session, f"{REGISTRY}/{REPOSITORY}", tag_of(image), LocalImage("a:1", digest)) == digest

    def nothing_is_sent(*_: object) -> None:
        raise AssertionError("an image was pushed that is there")

    monkeypatch.setattr(images, "built", lambda *_: image)
    monkeypatch.setattr(images, "push", nothing_is_sent)
    lines: list[str] = []
    uri = pushed(session, f"{REGISTRY}/{REPOSITORY}", "trainer", False, lines.append)
    assert uri == f"{REGISTRY}/{REPOSITORY}@{digest}" and "has this image already" in lines[-1]


def test_an_installed_package_takes_the_newest_image_of_its_version(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on the notebook instance, which has a wheel and no sources."""
    monkeypatch.setattr(images, "FOLDER", tmp_path)
    ecr, version = here.server.client("ecr"), importlib.metadata.version("undercut")
    ecr.create_repository(repositoryName=REPOSITORY)
    session = CloudSession(CloudSettings.load())
    with pytest.raises(InputError, match=f"none in .*{REPOSITORY}"):
        pushed(session, f"{REGISTRY}/{REPOSITORY}", "trainer", False, print)
    digests = {}
    for number, tag in enumerate(
        (f"{version}-{'a' * 12}", f"{version}-{'b' * 12}", f"{version}-gpu-{'c' * 12}", "0.0.9-x")
    ):
        manifest = manifest_of(f"sha256:{number:064d}")
        digests[tag] = ecr.put_image(repositoryName=REPOSITORY, imageTag=tag, imageManifest=manifest)["image"][
            "imageId"
        ]
    uri = pushed(session, f"{REGISTRY}/{REPOSITORY}", "trainer", False, print)
    assert uri.rpartition("@")[2] in {digests[f"{version}-{letter * 12}"]["imageDigest"] for letter in "ab"}
    uri = pushed(session, f"{REGISTRY}/{REPOSITORY}", "trainer", True, print)
    assert uri.endswith(digests[f"{version}-gpu-{'c' * 12}"]["imageDigest"])
    assert tag_of(LocalImage(f"undercut-trainer-gpu:{version}", "sha256:" + "c" * 64)) == f"{version}-gpu-{'c' * 12}"


def test_a_repository_that_is_not_there_is_named(here: Here) -> None:
    session = CloudSession(CloudSettings.load())
    image = LocalImage("undercut-trainer:0.1.0", "sha256:" + "a" * 64)
    with pytest.raises(CloudError, match="RepositoryNotFoundException"):
        registry_digest(session, f"{REGISTRY}/nothing", "1", image)


class Registry:
    """The registry's own protocol in front of moto's ECR, as an engine speaks it: a password, blobs, a manifest."""

    def __init__(self, ecr: Any, password: str) -> None:
        self._ecr, self._password = ecr, password
        self.blobs: dict[str, bytes] = {}
        self._open: dict[str, bytes] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if request.authorization is None or request.authorization.password != self._password:
            return Response("", 401, {"WWW-Authenticate": 'Basic realm="ecr"'})
        *_, kind, name = request.path.rstrip("/").split("/")
        if request.path == "/v2/":
            return Response("{}", 200)
        if request.method == "HEAD":
            return Response(self.blobs[name]) if kind == "blobs" and name in self.blobs else Response("", 404)
        if kind == "manifests":
            text = request.get_data()
            self._ecr.put_image(repositoryName=REPOSITORY, imageTag=name, imageManifest=text.decode())
            return Response("", 201, {"Docker-Content-Digest": f"sha256:{hashlib.sha256(text).hexdigest()}"})
        if request.method == "POST":
            name = f"upload-{len(self._open)}"
        self._open[name] = self._open.get(name, b"") + request.get_data()
        if request.method != "PUT":
            where = f"/v2/{REPOSITORY}/blobs/uploads/{name}"
            there = max(len(self._open[name]) - 1, 0)
            return Response("", 202, {"Location": where, "Range": f"0-{there}", "Docker-Upload-UUID": name})
        digest, content = request.args["digest"], self._open[name]
        assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = content
        return Response("", 201, {"Docker-Content-Digest": digest, "Location": f"/v2/{REPOSITORY}/blobs/{digest}"})


@contextmanager
def served(registry: Registry) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, registry, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()


@pytest.mark.docker
def test_docker_pushes_to_the_registry_and_leaves_no_password(here: Here, tmp_path: Path) -> None:
    need_engine()
    (tmp_path / "file").write_text("of the test")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY file /file\n")
    name = f"undercut-test-{tmp_path.parent.name}:0.1.0".lower()
    docker("build", "--quiet", "--tag", name, str(tmp_path))
    try:
        image = LocalImage(name, docker("image", "inspect", "--format", "{{.Id}}", name).stdout.strip())
        ecr = here.server.client("ecr")
        ecr.create_repository(repositoryName=REPOSITORY)
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        registry = Registry(ecr, b64decode(token).decode().partition(":")[2])
        config = Path.home() / ".docker" / "config.json"
        before = config.read_bytes() if config.exists() else None
        with served(registry) as port:
            session = CloudSession(CloudSettings.load())
            repository = f"127.0.0.1:{port}/{REPOSITORY}"
            assert registry_digest(session, repository, tag_of(image), image) == ""
            push(session, repository, tag_of(image), image)
            assert registry_digest(session, repository, tag_of(image), image).startswith("sha256:")
        assert registry.blobs  # which it takes with the password alone
        assert (config.read_bytes() if config.exists() else None) == before
        assert not docker("image", "ls", "--quiet", f"{repository}").stdout.strip()
    finally:
        docker("image", "rm", name, check=False)
