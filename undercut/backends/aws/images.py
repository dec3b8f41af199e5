"""Our two images in the account's registry: built here, pushed by Docker's SDK where the registry has others."""

import importlib.metadata
import json
from base64 import b64decode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from contract.errors import InputError
from undercut.backends.aws.jobs import Images
from undercut.backends.aws.plan import JobPlan
from undercut.backends.aws.resources import Resources
from undercut.backends.aws.session import CloudError, CloudSession
from undercut.backends.compose.engine import FOLDER, ask_docker, asking, engine

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
    with asking(f"find the image {name}"):
        return LocalImage(name, str(engine().images.get(name).id))


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
    """By Docker's SDK, with a bar of the bytes. The registry's password is in the request to the engine alone."""
    told = session.call("ecr", "GetAuthorizationToken")["authorizationData"][0]
    user, _, password = b64decode(told["authorizationToken"]).decode().partition(":")
    client, auth = engine(), {"username": user, "password": password}
    with asking(f"push {repository}:{tag}"):
        client.images.get(image.name).tag(repository, tag)
        try:
            _follow(client.api.push(repository, tag, auth_config=auth, stream=True, decode=True), tag)
        finally:
            client.images.remove(f"{repository}:{tag}", noprune=True)


def _follow(events: Iterable[dict[str, Any]], what: str) -> None:
    """Show a push by its bytes, on a terminal; CloudError with the engine's word when it fails."""
    layers: dict[str, tuple[int, int]] = {}
    columns, here = (TextColumn("{task.description}"), BarColumn(), DownloadColumn()), Console(stderr=True)
    with Progress(*columns, transient=True, disable=not here.is_terminal, console=here) as bar:
        task = bar.add_task(what, total=None)
        for event in events:
            if "error" in event:
                fix = "see the message; `undercut doctor --backend compose`"
                raise CloudError(f"docker push failed: {event['error']}", "the registry takes the image", fix)
            if (detail := event.get("progressDetail") or {}).get("total"):
                layers[event["id"]] = (min(detail.get("current", 0), detail["total"]), detail["total"])
                done, total = (sum(pair[at] for pair in layers.values()) for at in (0, 1))
                bar.update(task, completed=done, total=total)
