"""Whether the Hugging Face hub can be reached."""

import re
import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

from huggingface_hub import constants


def is_id(name: str) -> bool:
    """Whether a name has the form of a hub id: ``owner/name`` or ``name``."""
    return re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name) is not None


def is_reachable() -> bool:
    """Whether the host name of the hub can be resolved. Without a network, a request would take
    half a minute of retries. Behind a proxy, the proxy resolves the name."""
    if constants.HF_HUB_OFFLINE:
        return False
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(urlparse(constants.ENDPOINT).hostname, 443)
    except OSError:
        return False
    return True


def cached_models() -> list[str]:
    """The ids of the models that were downloaded from the hub."""
    folders = Path(constants.HF_HUB_CACHE).glob("models--*")
    return sorted(folder.name.removeprefix("models--").replace("--", "/", 1) for folder in folders)
