"""The lab's web answers real clients: git, 1Password Connect's provider of the inventory, a browser of files."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import CommandError
from bootstrap.host.errors import FirstlightError, InputError
from inventory.model import SecretProvider, SecretReference, SecretSettings
from inventory.secrets import providers, resolve_all
from rehearsal.repository import commit_worktree
from rehearsal.vault import Vault
from rehearsal.web import NOT_FOUND, Request, Response, by_host, serve, serve_connect, serve_files, serve_git
from tests.unit.rehearsal.bench import Trust, free_port, git, make_trust, make_worktree, runner, system

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOKEN = "the-token-of-this-lab"


def get(path: str, *, host: str = "host", query: str = "", token: str = "") -> Request:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return Request("GET", host, path, query, headers, b"")


# files ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Callable[[Request], Response]:
    (tmp_path / "shown" / "folder").mkdir(parents=True)
    (tmp_path / "shown" / "index.yaml").write_text("entries: {}\n")
    (tmp_path / "shown" / "folder" / "a b.tgz").write_bytes(b"archive")
    (tmp_path / "hidden").write_text("not for you")
    (tmp_path / "shown" / "link").symlink_to(tmp_path / "hidden")
    return serve_files({"host": tmp_path / "shown"})


def test_a_file_is_given_with_its_type(files: Callable[[Request], Response]) -> None:
    assert files(get("/index.yaml")) == Response(200, (("Content-Type", "text/yaml"),), b"entries: {}\n")
    assert files(get("/folder/a%20b.tgz")).body == b"archive"


@pytest.mark.parametrize(
    "path", ["/", "/folder", "/none", "/../hidden", "/%2e%2e/hidden", "/folder/../../hidden", "//etc/passwd", "/link"]
)
def test_nothing_outside_of_the_folder_is_given(files: Callable[[Request], Response], path: str) -> None:
    assert files(get(path)) == NOT_FOUND


def test_another_host_has_nothing(files: Callable[[Request], Response]) -> None:
    assert files(get("/index.yaml", host="other")) == NOT_FOUND
    assert by_host({"host": files})(get("/index.yaml", host="other")) == NOT_FOUND
    assert by_host({"host": files})(get("/index.yaml")).status == 200


# server --------------------------------------------------------------------------------------------------------


def test_a_handler_that_fails_answers_so() -> None:
    def handle(_: Request) -> Response:
        raise FirstlightError("it is broken", cause="on purpose")

    port = free_port()
    serve("127.0.0.1", port, handle)
    with pytest.raises(urllib.error.HTTPError) as failed:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/")
    with failed.value as answer:
        assert (answer.status, answer.read()) == (500, b"it is broken: on purpose\n")


def test_a_request_arrives_whole() -> None:
    seen: list[Request] = []

    def handle(request: Request) -> Response:
        seen.append(request)
        return Response(201, (("X-Own", "yes"),), b"made")

    port = free_port()
    serve("127.0.0.1", port, handle)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with closing(connection):
        connection.request("POST", "/a/b?c=d", body=iter([b"first ", b"second"]))  # sent in chunks
        answer = connection.getresponse()
        assert (answer.status, answer.headers["X-Own"], answer.read()) == (201, "yes", b"made")
    (one,) = seen
    assert (one.method, one.host, one.path, one.query, one.body) == (
        "POST",
        "127.0.0.1",
        "/a/b",
        "c=d",
        b"first second",
    )


# git -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return make_trust(tmp_path / "trust")


@pytest.fixture
def hub(tmp_path: Path, trust: Trust) -> tuple[str, str, tuple[str, ...]]:
    """A server of one repository: its URL, the commit, and the options that make git take it for github.com."""
    worktree = make_worktree(tmp_path / "worktree", {"file": "content\n", "big": "x" * 2_000_000})
    bare = tmp_path / "git" / "monosense-io" / "k8s-gitops.git"
    commit = commit_worktree(worktree, bare, "refs/heads/main", system("git"), runner())
    port = free_port()
    handle = by_host({"github.com": serve_git(tmp_path / "git", system("git"), runner())})
    serve("127.0.0.1", port, handle, tls=trust.pair)
    resolve = ("-c", f"http.curloptResolve=github.com:{port}:127.0.0.1")
    return f"https://github.com:{port}/monosense-io/k8s-gitops.git", commit, resolve


def test_git_clones_what_was_committed(hub: tuple[str, str, tuple[str, ...]], trust: Trust, tmp_path: Path) -> None:
    url, commit, options = hub
    environment = {"GIT_SSL_CAINFO": str(trust.authority)}
    assert git(tmp_path, *options, "ls-remote", url, "refs/heads/main", environment=environment).split() == [
        commit,
        "refs/heads/main",
    ]
    git(tmp_path, *options, "clone", "--quiet", "--depth=1", url, "clone", environment=environment)
    assert (tmp_path / "clone" / "file").read_text() == "content\n"
    # large requests are sent compressed: many commits that the server does not know
    for number in range(40):
        git(tmp_path / "clone", "commit", "--quiet", "--allow-empty", f"--message={number}")
    git(tmp_path / "clone", *options, "fetch", "--quiet", "origin", environment=environment)


def test_nobody_pushes(hub: tuple[str, str, tuple[str, ...]], trust: Trust, tmp_path: Path) -> None:
    url, commit, options = hub
    environment = {"GIT_SSL_CAINFO": str(trust.authority), "GIT_TERMINAL_PROMPT": "0"}
    git(tmp_path, *options, "clone", "--quiet", url, "clone", environment=environment)
    git(tmp_path / "clone", "commit", "--quiet", "--allow-empty", "--message=mine")
    with pytest.raises(CommandError, match="403"):
        git(tmp_path / "clone", *options, "push", "--quiet", "origin", "HEAD:main", environment=environment)
    bare = tmp_path / "git" / "monosense-io" / "k8s-gitops.git"
    assert git(bare, "rev-parse", "refs/heads/main").strip() == commit


def test_who_does_not_know_the_ca_does_not_clone(hub: tuple[str, str, tuple[str, ...]], tmp_path: Path) -> None:
    url, _, options = hub
    other = make_trust(tmp_path / "other")
    with pytest.raises(CommandError, match="certificate"):
        git(tmp_path, *options, "clone", url, "clone", environment={"GIT_SSL_CAINFO": str(other.authority)})


@pytest.mark.parametrize(
    "path", ["/none.git/info/refs", "/../secret.git/info/refs", "/monosense-io/k8s-gitops.git/config"]
)
def test_git_gives_repositories_only(tmp_path: Path, path: str) -> None:
    worktree = make_worktree(tmp_path / "worktree", {"file": ""})
    for folder in ("git/monosense-io/k8s-gitops.git", "secret.git"):
        commit_worktree(worktree, tmp_path / folder, "refs/heads/main", system("git"), runner())
    answer = serve_git(tmp_path / "git", system("git"), runner())(get(path, query="service=git-upload-pack"))
    assert answer.status in {403, 404, 500}
    assert b"[core]" not in answer.body


# 1Password Connect ---------------------------------------------------------------------------------------------


@pytest.fixture
def vault() -> Vault:
    vault = Vault("lab")
    vault.put("talos-lab", {"bundle": "cluster:\n  id: x\n"})
    vault.put("onepassword-connect", {"token": TOKEN})
    return vault


def resolve(vault: Vault, token: str, *references: str) -> dict[str, bytes]:
    port = free_port()
    serve("127.0.0.1", port, serve_connect(vault, lambda: TOKEN))
    settings = SecretSettings(
        provider=SecretProvider.CONNECT, connect_host="", talos_bundle=SecretReference(references[0]),
        connect_token=SecretReference(references[-1]),
    )  # fmt: skip
    environment = {"OP_CONNECT_HOST": f"http://127.0.0.1:{port}", "OP_CONNECT_TOKEN": token}
    answering = providers(settings, environment=environment, runner=runner())
    resolved = resolve_all([SecretReference(one) for one in references], answering)
    return {reference: secret.reveal() for reference, secret in resolved.secrets.items()}


def test_the_inventorys_provider_reads_the_vault(vault: Vault) -> None:
    references = ("op://lab/talos-lab/bundle", "op://lab/onepassword-connect/token")
    assert resolve(vault, TOKEN, *references) == {references[0]: b"cluster:\n  id: x", references[1]: TOKEN.encode()}


@pytest.mark.parametrize(
    ("token", "reference", "reason"),
    [
        ("another-token", "op://lab/talos-lab/bundle", "answered 401: the token in OP_CONNECT_TOKEN is not valid"),
        (TOKEN, "op://other/talos-lab/bundle", "there is no vault `other`"),
        (TOKEN, "op://lab/talos-infra/bundle", "there is no item `talos-infra` in the vault `lab`"),
        (TOKEN, "op://lab/talos-lab/seed", "the item has no field `seed`"),
    ],
)
def test_what_is_not_there_is_named(vault: Vault, token: str, reference: str, reason: str) -> None:
    with pytest.raises(InputError) as refused:
        resolve(vault, token, reference)
    assert reason in str(refused.value.problems[0])


@pytest.mark.parametrize(
    ("path", "query", "titles"),
    [
        ("/v1/vaults", "", ["lab"]),
        ("/v1/vaults", "filter=name%20eq%20%22lab%22", ["lab"]),
        ("/v1/vaults", "filter=name%20eq%20%22none%22", []),
        ("/v1/vaults/{vault}/items", "", ["talos-lab", "onepassword-connect"]),
        ("/v1/vaults/{vault}/items", "filter=title%20eq%20%22talos-lab%22", ["talos-lab"]),
        ("/v1/vaults/another/items", "", None),
        ("/v1/vaults/{vault}/items/none", "", None),
        ("/v2/vaults", "", None),
    ],
)
def test_what_connect_lists(vault: Vault, path: str, query: str, titles: list[str] | None) -> None:
    answer = serve_connect(vault, lambda: TOKEN)(get(path.format(vault=vault.identity), query=query, token=TOKEN))
    found = json.loads(answer.body)
    assert answer.status == (404 if titles is None else 200)
    if titles is not None:
        assert [one.get("name") or one.get("title") for one in found] == titles
        assert TOKEN not in answer.body.decode()


def test_the_heartbeat_needs_no_token_and_the_rest_does(vault: Vault) -> None:
    connect = serve_connect(vault, lambda: TOKEN)
    assert connect(get("/heartbeat")).status == 200
    assert connect(get("/v1/vaults")).status == 401


def test_an_item_is_replaced_as_a_whole(vault: Vault) -> None:
    vault.put("talos-lab", {"other": "value"})
    assert vault.field("talos-lab", "other") == "value"
    with pytest.raises(KeyError):
        vault.field("talos-lab", "bundle")
    assert vault.item("none") is None
    assert vault.describe()["items"] == 2
