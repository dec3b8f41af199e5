"""The Docker Compose stack on this machine: its images, containers and store."""

import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from contract.errors import UndercutError
from contract.host import STORE
from contract.stores.local import write_file
from undercut.backends.compose.secrets import make_secrets, owner
from undercut.runs.run import TRACKS

FOLDER = Path(__file__).resolve().parents[3] / "compose"
BUILT = ("redis", "minio", "trainer", "simapp")
STORED = ("redis", "minio")
"""What is up as long as the stack is."""
INSTALL = "https://docs.docker.com/engine/install/"

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container


class StackError(UndercutError):
    """The stack cannot do what was asked; the message says what to do."""


class Stack:
    """`docker compose` in the project's compose folder. `overlays` are names of further files, such as "gpu"."""

    def __init__(self, overlays: Sequence[str] = (), folder: Path = FOLDER) -> None:
        self.folder = folder
        self.files = [folder / "compose.yaml", *(folder / f"{name}.yaml" for name in overlays)]

    # --- commands ---

    def command(self, *arguments: str, extra: Sequence[Path] = ()) -> list[str]:
        """A docker compose command; `extra` files come on top of the stack's."""
        files = [part for path in (*self.files, *extra) for part in ("-f", str(path))]
        return ["docker", "compose", "--project-directory", str(self.folder), *files, *arguments]

    def run(self, *arguments: str, extra: Sequence[Path] = (), settings: Mapping[str, str] | None = None) -> None:
        """Let docker compose do it, with its output for the racer to see; StackError when it fails."""
        environment = {**(settings or {}), **self.environment()}
        status = subprocess.run(
            self.command(*arguments, extra=extra), check=False, env=environment, stdin=subprocess.DEVNULL
        ).returncode
        if status != 0:
            raise StackError(
                f"docker compose {arguments[0]} ended with status {status}: see its message above",
                fix="undercut doctor looks for the usual reasons; undercut stack logs shows what containers said",
            )

    def ask(self, *arguments: str) -> str:
        """What docker compose prints."""
        return ask_docker(self.command(*arguments)[1:], self.environment())

    def environment(self) -> dict[str, str]:
        """This process's, and what the files are filled in with; compose/.env and the shell's own values go first."""
        ours = {
            "STACK_VERSION": importlib.metadata.version("undercut"),
            "STACK_TRACKS": str(TRACKS.resolve()),
            "COMPOSE_PROFILES": "job",
        }
        return {**ours, **os.environ}

    # --- life ---

    def up(self) -> None:
        """Images, secrets, Redis, MinIO and its bucket; nothing is done twice. StackError in an installed package."""
        if not (self.folder.parent / "uv.lock").is_file():
            raise StackError(
                f"{self.folder.parent} is an installed package: images are built from undercut's sources",
                fix="clone its repository, and run make up there",
            )
        rootless = "name=rootless" in engine().info()["SecurityOptions"]
        uid, gid = owner(os.getuid(), os.getgid(), rootless)
        make_secrets(self.folder / "secrets", uid, gid)
        set_variables(self.folder / ".env", {"STACK_UID": str(uid), "STACK_GID": str(gid)})
        TRACKS.mkdir(exist_ok=True)  # else the engine makes it, as root
        self.build()
        self.run("up", "--detach", "--no-build", "--wait", "--wait-timeout", "120", *STORED)
        self.run("run", "--rm", "--no-deps", "-T", "setup")

    def view(self) -> str:
        """Start the page of the stored runs; returns its address."""
        self.run("up", "--detach", "--no-build", "--no-deps", "--wait", "--wait-timeout", "120", "viewer")
        tokens = re.findall(r"token=([\w-]+)", self.ask("logs", "--no-log-prefix", "viewer"))
        return f"http://{self.ask('port', 'viewer', '8899').strip()}/?token={tokens[-1] if tokens else ''}"

    def build(self) -> None:
        """Build the images of this version, and pull those that a setting names in place of ours."""
        services = json.loads(self.ask("config", "--format", "json"))["services"]
        foreign = [name for name in BUILT if not services[name]["image"].startswith("undercut-")]
        ours = [name for name in BUILT if name not in foreign]
        # those of an overlay begin from the simulator's image, which the setup has too
        later = [name for name in ours if "SIMAPP" in services[name].get("build", {}).get("args", {})]
        if later:
            self.run("build", "--quiet", "setup")
        self.run("build", "--quiet", *(name for name in ours if name not in later))
        if later:
            self.run("build", "--quiet", *later)
        if foreign:
            self.run("pull", "--quiet", "--policy", "missing", *foreign)

    def down(self, volumes: bool = False) -> None:
        """Stop and remove the containers; a training saves its iteration first. Runs go only with the `volumes`."""
        self.run("down", "--remove-orphans", *(["--volumes"] if volumes else []))

    def container(self, service: str) -> str | None:
        """The id of a service's container, running or not, None when there is none."""
        return next(iter(self.ask("ps", "--all", "--quiet", service).split()), None)

    def store_settings(self) -> dict[str, str]:
        """The environment in which this machine's processes find the stack's store."""
        services = json.loads(self.ask("config", "--format", "json"))["services"]
        return {
            STORE: services["trainer"]["environment"][STORE],
            "AWS_ENDPOINT_URL_S3": f"http://{self.ask('port', 'minio', '9000').strip()}",
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "secrets" / "s3_trainer"),
            "AWS_REGION": services["trainer"]["environment"]["AWS_REGION"],
            "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1"])),
        }


OTHER_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
"""They would go before the stack's."""


def use_store(stack: Stack) -> None:
    """From now on runs of this process live in the stack's store."""
    for name in OTHER_CREDENTIALS:
        os.environ.pop(name, None)
    os.environ.update(stack.store_settings())


def ask_docker(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What a docker command prints, of those that the engine's API has no part of: compose and BuildKit's builds.
    StackError with what it said when it fails."""
    if shutil.which("docker") is None:
        raise StackError("there is no docker command", fix=f"install Docker Engine with Compose v2: {INSTALL}")
    run = subprocess.run(
        ["docker", *arguments], check=False, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL
    )
    if run.returncode != 0:
        raise StackError(f"docker {arguments[0]} failed: {run.stderr.strip()}", fix="undercut doctor")
    return run.stdout


def engine() -> "DockerClient":
    """Docker's SDK at the engine that the docker command talks to: DOCKER_HOST, else its current context's. StackError
    when none answers."""
    import docker  # takes a moment; --help should not
    from docker.context import ContextAPI

    try:
        if "DOCKER_HOST" in os.environ:
            return docker.from_env(version="auto")
        context = ContextAPI.get_current_context()
        tls = context.TLSConfig or False
        return docker.DockerClient(base_url=context.Host, tls=tls, version="auto", use_ssh_client=True)
    except (docker.errors.DockerException, OSError, ValueError) as error:
        raise StackError(
            f"no Docker engine answers: {error}",
            fix="start it (sudo systemctl start docker), join the group docker (sudo usermod -aG docker $USER),\n"
            f"        or install one with Compose v2: {INSTALL}",
        ) from None


@contextlib.contextmanager
def asking(what: str) -> Iterator[None]:
    """StackError that says `what` was asked of the engine when it refuses or goes away."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except (DockerException, RequestException) as error:
        raise StackError(
            f"Docker did not {what}: {error}", fix="undercut doctor, then the same command again"
        ) from None


def container_of(name: str) -> "Container":
    """Of its id or name, as it is now: `attrs` has State and Config. StackError when it is gone."""
    with asking(f"find the container {name}"):
        return engine().containers.get(name)


def set_variables(path: Path, values: Mapping[str, str]) -> None:
    """Set these lines of an env file; the others stay."""
    lines = path.read_text().splitlines() if path.exists() else []
    names = re.compile(rf"\s*(?:{'|'.join(values)})\s*=")
    wanted = [*(line for line in lines if not names.match(line)), *(f"{key}={value}" for key, value in values.items())]
    if wanted != lines:
        write_file(path, ("\n".join(wanted) + "\n").encode())
