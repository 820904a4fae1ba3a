"""Who may call the service, and who may not keep others waiting."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import threading
import time
import urllib.request

import pytest

pytest.importorskip("fastapi_offline", reason="the extra serve is not installed")
import uvicorn
from fastapi.testclient import TestClient

from edgerec.errors import ConfigError
from edgerec.runtime import Recommender
from edgerec.serve import connections, metrics
from edgerec.serve.access import Access, is_loopback, read_token
from edgerec.serve.app import Served, create_app
from tests import toy

HERE = "http://127.0.0.1:8765"
TOKEN = "a-token-of-the-test"


def client_of(bundle, access=None):
    return TestClient(create_app(lambda: Recommender.of(bundle), access), HERE)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "10.0.0.7", "", "a b"])
def test_a_name_that_was_made_to_resolve_to_this_machine_is_refused(toy_bundle, host):
    with client_of(toy_bundle) as client:
        for method, path in (("POST", "/recommend"), ("DELETE", "/profiles/anna"), ("GET", "/health"), ("GET", "/")):
            answer = client.request(method, path, headers={"Host": host}, follow_redirects=False)
            assert (answer.status_code, answer.json()["detail"][:10]) == (400, "no service")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8765", "[::1]:8765", "[::1]"])
def test_every_name_of_the_loopback_address_is_answered(toy_bundle, host):
    with client_of(toy_bundle) as client:
        assert client.get("/health", headers={"Host": host}).status_code == 200


def test_a_web_page_of_another_origin_is_refused_unless_it_is_named(toy_bundle):
    page, asked = {"Origin": "https://app.example"}, {"json": {"item": "i7"}}
    with client_of(toy_bundle) as client:
        assert client.post("/observe", headers=page, **asked).status_code == 403
        assert client.post("/observe", headers={"Origin": "null"}, **asked).status_code == 403
        assert client.post("/observe", headers={"Origin": HERE}, **asked).status_code == 200
        assert "access-control-allow-origin" not in client.get("/health").headers
    with client_of(toy_bundle, Access.at("127.0.0.1", token=TOKEN, origins=["https://app.example"])) as client:
        preflight = {**page, "Access-Control-Request-Method": "POST"}
        assert client.options("/observe", headers=preflight).headers["access-control-allow-origin"] == page["Origin"]
        preflight["Origin"] = "https://evil.example"
        assert "access-control-allow-origin" not in client.options("/observe", headers=preflight).headers
        assert client.post("/observe", headers=page, **asked).status_code == 401
        answer = client.post("/observe", headers={**page, "Authorization": f"Bearer {TOKEN}"}, **asked)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, page["Origin"])


def test_a_body_that_a_page_may_send_without_asking_is_not_read(toy_bundle):
    with client_of(toy_bundle) as client:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            answer = client.post("/observe", content='{"item": "i7"}', headers={"Content-Type": kind})
            assert answer.status_code == 422
        assert client.get("/health").json()["events"] == 0


def test_with_a_token_every_call_but_health_needs_it(toy_bundle):
    with client_of(toy_bundle, Access.at("0.0.0.0", token=TOKEN)) as client:
        paths = client.app.openapi()["paths"]
        for path in ("/", "/docs", "/openapi.json", "/nothing", *paths):
            for method in ("GET", "POST", "DELETE"):
                for header in ({}, {"Authorization": "Bearer no"}, {"Authorization": TOKEN}):
                    answer = client.request(method, path, headers=header)
                    assert answer.status_code == 401 or path == "/health", (method, path)
        assert client.get("/health").status_code == 200
        answer = client.post("/recommend", json={"k": 3}, headers={"Authorization": f"Bearer {TOKEN}"})
        assert len(answer.json()["items"]) == 3
        assert 'status="401"' in client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
        open_paths = {path for path, rest in paths.items() for o in rest.values() if "security" not in o}
        assert open_paths == {"/health"}


def test_a_service_for_other_machines_answers_to_its_addresses_and_its_names_only(toy_bundle):
    access = Access.at("0.0.0.0", names=["Shop.Local"], token=TOKEN)
    with client_of(toy_bundle, access) as client:
        for host, status in (("192.168.0.7:80", 200), ("[fe80::1]", 200), ("shop.local", 200), ("evil.example", 400)):
            assert client.get("/health", headers={"Host": host}).status_code == status


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "shop.local"])
def test_a_service_for_other_machines_does_not_start_without_a_token(host):
    with pytest.raises(ConfigError, match="calls need a token: give --token-file FILE"):
        Access.at(host)
    assert not is_loopback(host)
    assert is_loopback("127.9.9.9") and is_loopback("::1") and is_loopback("localhost")


@pytest.mark.parametrize("origin", ["*", "app.example", "https://app.example/", "https://*.example"])
def test_an_origin_that_is_none_is_one_line(origin):
    with pytest.raises(ConfigError, match="expected an origin without a path"):
        Access.at("127.0.0.1", origins=[origin])


def test_a_token_is_made_for_its_owner_alone_and_read_again(tmp_path):
    token = read_token(tmp_path / "token")
    assert read_token(tmp_path / "token") == token and len(token) >= 32
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    (tmp_path / "empty").write_text("\n")
    for path, said in ((tmp_path / "empty", "is empty"), (tmp_path, "cannot be read or made"),
                       (tmp_path / "gone" / "token", "cannot be read or made")):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            read_token(path)
    for weak in ("short", "with a space in it"):
        with pytest.raises(ConfigError, match="at least 16 characters"):
            Access.at("0.0.0.0", token=weak)


def test_what_is_served_goes_to_the_workers_whole(tmp_path, toy_bundle, monkeypatch):
    from edgerec.serve.app import SETTINGS, from_environment

    monkeypatch.setenv(SETTINGS, "")
    served = Served(str(toy_bundle), host="0.0.0.0", names=("shop",), token_file=str(tmp_path / "t"), max_running=3)
    token = served.access().token
    served.to_environment()
    with TestClient(from_environment(), "http://shop") as client:
        assert client.post("/recommend", json={}).status_code == 401
        assert client.post("/recommend", json={}, headers={"Authorization": f"Bearer {token}"}).status_code == 200


# --- over real connections ---


@contextlib.contextmanager
def serving(bundle, **limits):
    """A server in a thread; its port."""
    app = create_app(lambda: Recommender.of(bundle, "numpy"), **limits)
    config = uvicorn.Config(app, port=0, timeout_graceful_shutdown=2, **connections.uvicorn_settings())
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=asyncio.run, args=(server.serve([listener]),))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def post(port, path, body, method="POST"):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, json.loads(answer.read() or b"null")


HEAD = b"POST /recommend HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


def test_clients_that_send_half_a_request_keep_no_one_out_and_are_let_go(toy_bundle, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    monkeypatch.setattr(metrics, "BODY_S", 0.5)
    halves = [b"", b"POST /recomm", HEAD, HEAD + b"Content-Length: 9\r\n\r\n{"] * 25
    with serving(toy_bundle, max_running=4) as port, contextlib.ExitStack() as opened:
        clients = [opened.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in halves]
        for client, half in zip(clients, halves, strict=True):
            client.sendall(half)
        assert len(post(port, "/recommend", {"k": 3})[1]["items"]) == 3
        for client in clients:
            client.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                said = client.recv(1000)
                assert said == b"" or b" 408 " in said.split(b"\r\n")[0]


def test_an_answer_that_is_not_read_is_not_kept(toy_bundle, monkeypatch):
    lost, lose = threading.Event(), connections.TimedProtocol.connection_lost
    monkeypatch.setattr(connections, "WRITE_S", 0.3)
    monkeypatch.setattr(connections.TimedProtocol, "connection_lost", lambda self, e: (lost.set(), lose(self, e))[1])
    asked = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serving(toy_bundle) as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(asked * 20)  # 30 MB, which no buffer holds
        assert lost.wait(20)


def test_a_head_that_trickles_is_not_waited_for(toy_bundle, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 0.4)
    with serving(toy_bundle) as port, socket.create_connection(("127.0.0.1", port)) as client:
        start = time.monotonic()
        with pytest.raises(OSError):
            for byte in (HEAD + b"Content-Length: 0\r\n\r\n") * 99:
                client.sendall(bytes([byte]))
                time.sleep(0.02)
        assert 0.3 < time.monotonic() - start < 20


def test_when_there_are_too_many_connections_the_one_that_waits_longest_gives_way(toy_bundle, monkeypatch):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 10)
    monkeypatch.setattr(connections, "HEAD_S", 60)
    with serving(toy_bundle) as port, contextlib.ExitStack() as opened:
        clients = [opened.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(10)]
        time.sleep(0.1)
        assert post(port, "/recommend", {"k": 1})[0] == 200
        clients[0].settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            assert clients[0].recv(1) == b""
        clients[9].settimeout(0.1)
        with pytest.raises(TimeoutError):
            clients[9].recv(1)


def test_more_requests_than_may_run_are_told_to_come_again(toy_bundle):
    release, running = threading.Event(), threading.Semaphore(0)

    class Slow(Recommender):
        def recommend(self, *arguments, **named):
            running.release()
            release.wait(10)
            return super().recommend(*arguments, **named)

    app = create_app(lambda: Slow.of(toy_bundle, "numpy"), max_running=2)
    with TestClient(app, HERE) as client:
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(client.post("/recommend", json={}).status_code))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert running.acquire(timeout=10)
        assert client.post("/recommend", json={}).status_code == 503
        release.set()
        for thread in threads:
            thread.join()
        assert answers == [200, 200] and client.post("/recommend", json={}).status_code == 200


def test_any_profile_can_be_erased_over_the_wire(toy_bundle):
    with serving(toy_bundle) as port:
        for profile, path in (("https://id.example/u/7", "https%3A%2F%2Fid.example%2Fu%2F7"), ("", ""),
                              ("50%2F", "50%252F"), ("//", "%2F%2F"), ("ä b", "%C3%A4%20b")):  # fmt: skip
            assert post(port, "/observe", {"item": "i7", "profile": profile, "time": toy.NOW_MS})[1] == {"stored": True}
            assert post(port, f"/profiles/{path}", None, "DELETE") == (204, None)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
                assert json.load(answer)["events"] == 0


def test_a_client_that_is_generated_from_the_openapi_document_works(toy_bundle):
    openapi = pytest.importorskip("aiopenapi3")
    import httpx2

    class Session(httpx2.Client):
        def __init__(self, **settings):
            super().__init__(**settings | {"timeout": 60})

    with serving(toy_bundle) as port:
        call = openapi.OpenAPI.load_sync(f"http://127.0.0.1:{port}/openapi.json", session_factory=Session)._
        event = {"item": "i7", "profile": "shop/7", "time": toy.NOW_MS}
        assert all(call.observe(data=event).stored for _ in range(30))
        asked = {"k": 3, "profile": "shop/7", "now": toy.NOW_MS, "explain": True}
        first, *others = call.recommend(data=asked).items
        assert first.item == "i7" and first.reasons[0].kind == "again" and len(others) == 2
        assert [i.item for i in call.similar(parameters={"item": "i3", "k": 2}).items] == ["i4", "i2"]
        assert [i.item for i in call.similar_to(data={"item": "i3", "k": 2}).items] == ["i4", "i2"]
        call.forget(parameters={"profile": "shop/7"})
        assert call.health().events == 0
        with pytest.raises(openapi.errors.HTTPError):
            call.recommend(data={"where": "prize < 2"})
