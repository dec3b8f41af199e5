"""What is on the notebook instance of `undercut cloud up --with notebook`: the guidance's steps as a notebook, in their
cloud flow, and a wheel of this checkout in the bucket, which its first cell installs."""

import base64
import gzip
import json
import subprocess
import tempfile
from pathlib import Path

from contract.host import S3Address
from undercut.backends.aws.session import CloudError
from undercut.runs.workspace import bucket_place

NOTEBOOK = Path(__file__).parent / "guidance.ipynb"
CHECKOUT = Path(__file__).resolve().parents[3]
FOLDER = "notebook"
"""Of the bucket, beside runs/."""


def text() -> str:
    """The notebook as the stack's parameter NotebookText holds it, which may have 4,096 characters."""
    plain = json.dumps(json.loads(NOTEBOOK.read_text(encoding="utf-8")), separators=(",", ":"))
    return base64.b64encode(gzip.compress(plain.encode(), 9, mtime=0)).decode()


def bring_wheel(store: S3Address) -> str:
    """Build a wheel and put it in the bucket, in place of earlier ones; in words, what was done. An installed package,
    which has no sources, leaves what is there. CloudError when it cannot be built."""
    if not (CHECKOUT / "uv.lock").is_file():
        return f"no wheel was brought to {store.below(FOLDER)}: an installed package has no sources to build one from"
    from uv import find_uv_bin  # a binary of its own, which only this needs

    with tempfile.TemporaryDirectory(prefix="undercut-wheel-") as folder:
        command = [find_uv_bin(), "build", "--quiet", "--wheel", "--out-dir", folder, str(CHECKOUT)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            fix = "see the message: uv fetches what builds it from a package index"
            raise CloudError(f"the wheel cannot be built: {done.stderr.strip()[-400:]}", "uv build ends well", fix)
        (wheel,) = Path(folder).glob("*.whl")
        place = bucket_place(store)
        for key in place.list(f"{FOLDER}/"):
            place.delete(key)
        place.put(f"{FOLDER}/{wheel.name}", wheel.read_bytes())
    return f"{wheel.name} is in {store.below(FOLDER)}, from where the notebook installs it"
