import socket

import pytest

from pyg_graphadapter import hub


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    monkeypatch.setattr(hub.urllib.request, "getproxies", dict)
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)


def test_a_name_that_resolves_can_be_asked(monkeypatch):
    monkeypatch.setattr(hub.socket, "getaddrinfo", lambda *_: [])
    assert hub.is_reachable()


def test_without_a_network_nothing_is_asked(monkeypatch):
    def fail(*_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(hub.socket, "getaddrinfo", fail)
    assert not hub.is_reachable()
    monkeypatch.setattr(hub.urllib.request, "getproxies", lambda: {"https": "proxy"})
    assert hub.is_reachable()  # the proxy resolves names


def test_in_offline_mode_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    assert not hub.is_reachable()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai/clip-vit-base-patch16", True),
        ("cifar10", True),
        ("/no/such", False),
        ("./photos", False),
        ("../photos", False),
        ("a/b/c", False),
        ("my photos", False),
        ("", False),
    ],
)
def test_paths_are_no_names_of_the_hub(name, expected):
    assert hub.is_id(name) == expected
