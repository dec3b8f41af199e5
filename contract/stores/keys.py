"""What a store's key looks like, the same for every store, so that runs can move between them."""

from contract.errors import StoreError

TEMPORARY = ".tmp-"
"""How the names of a folder's files begin while they are being written."""


def key_parts(key: str) -> list[str]:
    """The names in a key. StoreError when the key is not a plain relative path."""
    parts = key.split("/")
    if any(part in ("", ".", "..") or part.startswith(TEMPORARY) or "\0" in part for part in parts):
        raise StoreError(
            f"store key {key!r} is not allowed",
            f"names joined by single slashes, none empty, '.', '..' or beginning with {TEMPORARY!r}",
            "use a relative key such as 'model/model_0.pb'",
        )
    return parts
