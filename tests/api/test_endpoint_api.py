"""Whose API answers at an address, told by a real API server's certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from phases.endpoint import Answer, Api, ask_api
from tests.api import pki
from tests.api.server import free_ports

if TYPE_CHECKING:
    from tests.api.conftest import ApiServer

# The one name that its certificate holds.
HOST = "127.0.0.1"


def port(server: ApiServer) -> int:
    return urlsplit(server.server).port or 0


def test_our_own_api_by_its_name_and_authority(api_server: ApiServer) -> None:
    assert ask_api(HOST, port(api_server), HOST, api_server.authority.certificate_pem) == Answer(Api.OURS)


def test_an_api_with_another_authority_of_the_same_name(api_server: ApiServer) -> None:
    other = pki.issue("kubernetes").certificate_pem
    found = ask_api(HOST, port(api_server), HOST, other)
    assert (found.api, bool(found.said)) == (Api.FOREIGN, True)


def test_a_certificate_that_does_not_hold_the_name(api_server: ApiServer) -> None:
    found = ask_api(HOST, port(api_server), "k8s.example.org", api_server.authority.certificate_pem)
    assert found.api is Api.FOREIGN
    assert "k8s.example.org" in found.said


def test_a_port_at_which_nobody_listens(api_server: ApiServer) -> None:
    (free,) = free_ports(1)
    assert ask_api(HOST, free, HOST, api_server.authority.certificate_pem) == Answer(Api.SILENT, "Connection refused")
