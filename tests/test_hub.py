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
