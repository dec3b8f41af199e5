"""Our two images in the account's registry: built here, pushed by the docker command where the registry has others."""

import importlib.metadata
import json
import subprocess
import tempfile
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from contract.errors import InputError
from undercut.backends.aws.jobs import Images
from undercut.backends.aws.plan import JobPlan
from undercut.backends.aws.resources import Resources
from undercut.backends.aws.session import CloudError, CloudSession
from undercut.backends.compose.engine import FOLDER, ask_docker, engine_info

Target = Literal["trainer", "simapp"]
MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
ABSENT = ("RepositoryNotFoundException", "ImageNotFoundException")
_GPU = ("p", "g")


@dataclass(frozen=True, slots=True)
class LocalImage:
    """Of the local engine. `digest` is that of its configuration or of its manifest, by the engine's kind of store."""

    name: str
    digest: str


def images_of(session: CloudSession, plan: JobPlan, resources: Resources, say: Callable[[str], None]) -> Images:
    """Where the registry has what the plan needs; pushed first where it has not."""
    settings = plan.settings
    gpu = plan.groups[0].instance_type.removeprefix("ml.").startswith(_GPU)
    trainer = settings.trainer_image or pushed(session, resources.trainer_repository, "trainer", gpu, say)
    if all(group.service == "sagemaker" for group in plan.groups):
        return Images(trainer)
    return Images(trainer, settings.simapp_image or pushed(session, resources.simapp_repository, "simapp", False, say))


def pushed(session: CloudSession, repository: str, target: Target, gpu: bool, say: Callable[[str], None]) -> str:
    """The image of this version by its digest in the repository; nothing is sent that is there already."""
    if not repository:
        rule = "the registry has a repository for it, which `undercut cloud up` makes"
        fix = "undercut cloud up, or name an image that is in a registry"
        raise InputError(f"{target}_image", "", rule, fix)
    if not (FOLDER / "Dockerfile").exists():  # an installed package, as on the notebook instance
        return newest(session, repository, target, gpu, say)
    image = built(target, gpu, say)
    tag = tag_of(image)
    found = registry_digest(session, repository, tag, image)
    if found:
        say(f"{target}: the registry has this image already ({found[:19]}...)")
    else:
        say(f"{target}: pushing to {repository}:{tag}")
        push(session, repository, tag, image)
        found = registry_digest(session, repository, tag, image)
        if not found:
            rule, fix = "what was pushed is in the registry", "push again; see the repository in AWS's console"
            raise CloudError(f"{repository}:{tag} is another image than {image.digest}", rule, fix)
    return f"{repository}@{found}"


def built(target: Target, gpu: bool, say: Callable[[str], None]) -> LocalImage:
    """The image of this checkout; Docker's cache makes it quick where nothing has changed."""
    engine_info()
    version = importlib.metadata.version("undercut")
    name = f"undercut-{target}{'-gpu' if gpu else ''}:{version}"
    say(f"{target}: building {name}")
    ask_docker(
        [
            *("build", "--quiet", "--platform", "linux/amd64", "--file", str(FOLDER / "Dockerfile")),
            # one manifest of Docker's own form: SageMaker takes no index, which attestations make of an image
            *("--provenance=false", "--sbom=false", "--output", "type=docker"),
            *("--target", target, "--build-arg", f"EXTRA={'gpu' if gpu else 'cpu'}"),
            *("--build-arg", f"VERSION={version}", "--tag", name, str(FOLDER.parent)),
        ]
    )
    return LocalImage(name, ask_docker(["image", "inspect", "--format", "{{.Id}}", name]).strip())


def newest(session: CloudSession, repository: str, target: Target, gpu: bool, say: Callable[[str], None]) -> str:
    """The image of this version that was pushed last from a checkout, by its digest; InputError when there is none."""
    version = importlib.metadata.version("undercut")
    begin, other = f"{version}-gpu-" if gpu else f"{version}-", f"{version}-gpu-"
    name = repository.partition("/")[2]
    found = [
        one
        for one in session.everything("ecr", "DescribeImages", "imageDetails", repositoryName=name)
        if any(tag.startswith(begin) and (gpu or not tag.startswith(other)) for tag in one.get("imageTags", []))
    ]
    if not found:
        rule = f"an installed package takes the image of its version, {version}, that a checkout has pushed"
        fix = "undercut cloud train RUN once from a checkout, which pushes it, or name an image in cloud.yaml"
        raise InputError(f"{target}_image", f"none in {repository}", rule, fix)
    digest = str(max(found, key=lambda one: one["imagePushedAt"])["imageDigest"])
    say(f"{target}: the registry's newest image of {version} ({digest[:19]}...)")
    return f"{repository}@{digest}"


def tag_of(image: LocalImage) -> str:
    """By version, kind and content, so that a tag never changes its image."""
    name, _, version = image.name.rpartition(":")
    return f"{version}{'-gpu' if name.endswith('-gpu') else ''}-{image.digest.removeprefix('sha256:')[:12]}"


def registry_digest(session: CloudSession, repository: str, tag: str, image: LocalImage) -> str:
    """The digest by which the registry has this very image under the tag; "" when it has none or another."""
    name = repository.partition("/")[2]
    answer = session.call(
        "ecr",
        "BatchGetImage",
        repositoryName=name,
        imageIds=[{"imageTag": tag}],
        acceptedMediaTypes=list(MANIFESTS),
    )
    for found in answer.get("images", []):
        digest = str(found["imageId"]["imageDigest"])
        manifest = json.loads(found["imageManifest"])
        if "manifests" in manifest:
            rule = "SageMaker starts images of a single manifest; this is an index of several"
            fix = "delete it in the registry and push again; where the engine makes indexes, set trainer_image"
            raise CloudError(f"{repository}:{tag} is {manifest.get('mediaType', 'an image index')}", rule, fix)
        if image.digest in (digest, manifest.get("config", {}).get("digest")):
            return digest
    return ""


def push(session: CloudSession, repository: str, tag: str, image: LocalImage) -> None:
    """By the docker command. The registry's password goes in by stdin, to a folder that is deleted afterwards."""
    registry = repository.partition("/")[0]
    told = session.call("ecr", "GetAuthorizationToken")["authorizationData"][0]
    user, _, password = b64decode(told["authorizationToken"]).decode().partition(":")
    remote = f"{repository}:{tag}"
    with tempfile.TemporaryDirectory(prefix="undercut-docker-") as folder:
        docker = ["docker", "--config", folder]
        _run([*docker, "login", "--username", user, "--password-stdin", registry], password)
        _run([*docker, "tag", image.name, remote])
        try:
            _run([*docker, "push", "--quiet", remote])
        finally:
            subprocess.run([*docker, "image", "rm", "--no-prune", remote], check=False, capture_output=True)


def _run(command: list[str], text: str | None = None) -> None:
    run = subprocess.run(command, check=False, capture_output=True, text=True, input=text)
    if run.returncode != 0:
        what = f"docker {command[3]} failed: {run.stderr.strip()[-400:]}"
        raise CloudError(what, "the registry takes the image", "see the message; `undercut doctor --backend compose`")
