"""The car bundle: model.tar.gz as a DeepRacer car takes it."""

import gzip
import io
import tarfile
from collections.abc import Mapping

from contract import artifacts

_GZIP_LEVEL = 1
"""Float weights shrink by 7 % at any level, so the fastest one does."""


def car_bundle(policy_pb: bytes, metadata_json: bytes, further: Mapping[str, bytes] | None = None) -> bytes:
    """agent/model.pb, model_metadata.json and further files (path -> content) as a gzipped tar, the same bytes for the
    same input."""
    tar_bytes = io.BytesIO()
    with tarfile.open(fileobj=tar_bytes, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        files = {artifacts.BUNDLE_MODEL: policy_pb, artifacts.BUNDLE_METADATA: metadata_json, **(further or {})}
        for name, data in files.items():
            member = tarfile.TarInfo(name)  # owner, group and mtime stay 0
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(tar_bytes.getvalue(), compresslevel=_GZIP_LEVEL, mtime=0)
