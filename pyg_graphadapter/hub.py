"""Whether the Hugging Face hub can be asked."""

import re
import socket
import urllib.request
from urllib.parse import urlparse

from huggingface_hub import constants


def is_id(name: str) -> bool:
    """Whether a name can be one of the hub, ``owner/name`` or ``name``, and not a path alone."""
    return re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name) is not None


def is_reachable() -> bool:
    """Whether the hub's name can be resolved: without a network, asking it takes half a minute of
    retries. Behind a proxy, the proxy resolves it."""
    if constants.HF_HUB_OFFLINE:
        return False
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(urlparse(constants.ENDPOINT).hostname, 443)
    except OSError:
        return False
    return True
