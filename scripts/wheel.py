"""Part of building a wheel: rl_coach, as uv.lock pins it, goes into it. See the dependency group `coach`."""

import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COACH = "rl-coach"


class CoachHook(BuildHookInterface):  # type: ignore[misc]  # hatchling is not in the environment, only in builds
    """Installs rl_coach without its requirements, by checksum, and includes it; nothing for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """`version` is "standard" or "editable". Raises CalledProcessError when uv cannot get or build rl_coach."""
        if version == "editable":
            return
        self._folder = Path(tempfile.mkdtemp(prefix="undercut-wheel-"))
        wanted = self._folder / "requirements.txt"
        wanted.write_text(requirement((Path(self.root) / "uv.lock").read_text(encoding="utf-8")), encoding="utf-8")
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--python", sys.executable, "--target", str(self._folder / "packages"), "-r", str(wanted)]
        subprocess.run(command, check=True, cwd=self.root)  # pyproject.toml there constrains what builds it
        build_data["force_include"][str(self._folder / "packages" / "rl_coach")] = "rl_coach"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """The wheel is written: what was installed for it goes."""
        if version != "editable":
            shutil.rmtree(self._folder)


def requirement(lock: str) -> str:
    """The line of a requirements file for rl_coach as uv.lock, given as text, pins it: version and checksum."""
    found = next(package for package in tomllib.loads(lock)["package"] if package["name"] == COACH)
    return f"{COACH}=={found['version']} --hash={found['sdist']['hash']}\n"
