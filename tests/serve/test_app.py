"""The service on the toy bundle."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings

pytest.importorskip("fastapi", reason="the extra serve is not installed")
import schemathesis
from fastapi.testclient import TestClient

from edgerec.bundle import write_bundle, write_catalog
from edgerec.runtime import Recommender
from edgerec.serve.access import LOOPBACK, Access
from edgerec.serve.app import create_app
from tests import toy

NOW = toy.NOW_MS
HERE = "http://127.0.0.1:8765"


@pytest.fixture
def client(toy_bundle, tmp_path):
    app = create_app(lambda: Recommender.open(toy_bundle, store=tmp_path / "s.sqlite"))
    with TestClient(app, HERE) as opened:
        yield opened


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [item["item"] for item in answer.json()["items"]]


def test_it_answers_as_the_runtime_does(client, toy_bundle):
    history = [{"item": "i5", "kind": "click", "time": NOW}]
    asked = {"k": 4, "history": history, "now": NOW, "where": "price > :p", "parameters": {"p": 1}, "explain": True}
    answer = client.post("/recommend", json=asked)
    with Recommender.of(toy_bundle) as rec:
        rec.observe("i5", "click", time=NOW)
        wanted = rec.recommend(k=4, now=NOW, where="price > 1", explain=True)
        related = [r.item for r in rec.similar("i3", k=2)]
        first = answer.json()["items"][0]
        assert ids(answer) == [r.item for r in wanted]
        assert first["utility"] == pytest.approx(wanted[0].utility)
        assert first["attributes"] == wanted[0].attributes
        assert first["reasons"][0]["item"] == wanted[0].reasons[0].item
    assert ids(client.get("/similar/i3?k=2")) == related


def test_the_root_says_what_it_is_and_every_route_in_a_line(client):
    told = client.get("/").json()
    with_method = {
        f"{verb.upper()} {path}" for path, of in client.get("/openapi.json").json()["paths"].items() for verb in of
    }

    assert told["service"] == "edgerec" and told["bundle"].startswith("toy ")
    assert told["routes"].keys() == with_method and all(line.endswith(".") for line in told["routes"].values())


def test_what_is_observed_counts_for_its_profile_until_it_is_forgotten(client):
    before = ids(client.post("/recommend", json={"profile": "anna", "now": NOW}))
    for _ in range(9):
        assert client.post("/observe", json={"item": "i7", "profile": "anna", "time": NOW}).json() == {"stored": True}
    assert ids(client.post("/recommend", json={"profile": "anna", "now": NOW})) != before
    assert ids(client.post("/recommend", json={"now": NOW})) == before
    assert client.delete("/profiles/anna").status_code == 204
    assert ids(client.post("/recommend", json={"profile": "anna", "now": NOW})) == before
    explained = client.post("/explain", json={"item": "i1", "now": NOW}).json()
    assert explained["popular"] + explained["context"] + explained["history"] == pytest.approx(explained["utility"])


@pytest.mark.parametrize(
    ("path", "asked", "said"),
    [
        ("/recommend", {"weights": {"nxt": 1}}, "no task 'nxt'"),
        ("/recommend", {"where": "prize < 2"}, "did you mean 'price'"),
        ("/recommend", {"k": 0}, "body.k: Input should be greater than or equal to 1"),
        ("/recommend", {"tasks": 1}, "body.tasks: Extra inputs are not permitted"),
        ("/score", {"items": ["i99"]}, "no item 'i99'"),
        ("/observe", {"item": "i1", "kind": "buy"}, "unknown kind 'buy'"),
    ],
)
def test_a_wrong_request_is_one_line(client, path, asked, said):
    answer = client.post(path, json=asked)
    assert answer.status_code == 422
    assert said in answer.json()["detail"] and "\n" not in answer.json()["detail"]


def test_a_body_that_is_too_long_is_refused_and_counted(toy_bundle):
    app = create_app(lambda: Recommender.of(toy_bundle), max_body=20)
    with TestClient(app, HERE, headers={"Content-Type": "application/json"}) as client:
        assert client.post("/recommend", content=b'{"k": 3}' + b" " * 12).status_code == 200
        answer = client.post("/recommend", content=b'{"k": 3}' + b" " * 13)
        assert answer.status_code == 413
        assert 'status="413"' in client.get("/metrics").text


def test_health_and_metrics_tell_what_happened(client):
    client.post("/recommend", json={})
    health = client.get("/health").json()
    assert (health["bundle"], health["lost"]) == ("toy 1", 0)
    assert 'edgerec_requests_total{route="/recommend",status="200"} 1.0' in client.get("/metrics").text


PROFILES = ["https://id.example/u/7", "anna", "", "a/", "/", "//", "a/../b", "ä b?c#d", " ", "%"]


@pytest.mark.parametrize("profile", [*PROFILES, ".", ".."])
@pytest.mark.parametrize("by", ["path", "body"])
def test_every_profile_that_is_observed_can_be_erased_and_only_that(client, profile, by):
    if by == "path" and profile not in PROFILES:
        pytest.skip("clients shorten such a path; the body is for that")
    for name in (profile, "another"):
        assert client.post("/observe", json={"item": "i7", "profile": name, "time": NOW}).json() == {"stored": True}
    if by == "body":
        answer = client.post("/forget", json={"profile": profile})
    else:
        answer = client.delete(f"/profiles/{quote(profile, safe='')}")
    assert answer.status_code == 204
    assert client.get("/health").json()["events"] == 1


def test_every_item_can_be_asked_for_whatever_its_id(tmp_path):
    ids_of = ["a/b", "/", "a/", "..", "x?y", "ä", "i6", "i7"]
    content = toy.files(tmp_path, 8, 4)
    rows = [{**row, "id": name} for row, name in zip(toy.items(8), ids_of, strict=True)]
    write_catalog(tmp_path / "other.sqlite", rows, ["price", "colour"])
    write_bundle(tmp_path / "bundle", {**content, "catalog.sqlite": tmp_path / "other.sqlite"}, toy.manifest(8, 4))
    with TestClient(create_app(lambda: Recommender.of(tmp_path / "bundle")), HERE) as client:
        for name in ids_of:
            assert len(ids(client.post("/similar", json={"item": name, "k": 3}))) == 3
        for name in ("a/b", "/", "a/", "x?y", "ä"):
            assert len(ids(client.get(f"/similar/{quote(name, safe='')}?k=3"))) == 3
        assert len(ids(client.get("/similar/a/b?k=3"))) == 3


def test_the_documentation_comes_from_here_and_the_root_leads_to_it(client):
    page = client.get("/", headers={"accept": "text/html,*/*"})
    assert page.status_code == 200 and page.url.path == "/docs"
    links = re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text)
    assert links and all(link.startswith("/") for link in links)
    assert all(client.get(link).status_code == 200 for link in links)


def test_each_operation_has_a_short_name_and_each_field_a_description_and_each_body_an_example(client):
    document = client.get("/openapi.json").json()
    operations = [o for path in document["paths"].values() for o in path.values()]
    assert {o["operationId"] for o in operations} >= {"recommend", "score", "similar", "observe", "forget", "health"}
    assert all(o.get("description") for o in operations)
    schemas = {n: s for n, s in document["components"]["schemas"].items() if n != "HTTPValidationError"}
    bare = [(n, f) for n, s in schemas.items() for f, v in s.get("properties", {}).items() if not v.get("description")]
    assert bare == []
    assert [n for n, s in schemas.items() if n.endswith("Request") and "examples" not in s] == []


def test_no_request_that_openapi_allows_or_forbids_is_an_error_of_the_service(toy_bundle):
    app = create_app(lambda: Recommender.of(toy_bundle), Access((*LOOPBACK, "testserver")))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    with TestClient(app):
        asked = []

        for result in schema.get_all_operations():
            operation = result.ok()

            @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
            @given(case=operation.as_strategy())
            def one(case):
                answer = case.call()
                asked.append(answer.status_code)
                assert answer.status_code < 500, (case.method, case.path, answer.text)

            one()
    assert len(asked) > 200 and 200 in asked and 422 in asked


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_several_workers_share_a_store_and_stop_gracefully(toy_bundle, tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "edgerec", "serve", str(toy_bundle), "--store", str(tmp_path / "s.sqlite"),
               "--port", str(port), "--workers", "2"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            base = f"http://127.0.0.1:{port}"

            def call(path, body=None):
                data = None if body is None else json.dumps(body).encode()
                request = urllib.request.Request(base + path, data, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.read().decode()

            for _ in range(200):
                try:
                    call("/health")
                    break
                except OSError:
                    time.sleep(0.1)
            for _ in range(30):
                call("/observe", {"item": "i7", "time": NOW})
            lists = {call("/recommend", {"k": 3, "now": NOW}) for _ in range(20)}
            assert [json.loads(answer)["items"][0]["item"] for answer in lists] == ["i7"]
            assert 'edgerec_requests_total{route="/recommend",status="200"} 20.0' in call("/metrics")
        finally:
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=30)[1]
    assert "Traceback" not in said
    assert process.returncode in (0, -signal.SIGTERM)
