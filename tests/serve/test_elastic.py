"""The service on Ray, where it is installed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from edgerec.errors import ConfigError
from edgerec.serve.app import Served
from edgerec.serve.elastic import deployment
from tests import toy

TOKEN = "a-token-of-the-test"


def test_replicas_that_make_no_sense_are_refused(toy_bundle):
    with pytest.raises(ConfigError, match="expected LEAST:MOST"):
        deployment(Served(str(toy_bundle)), 3, 2)


@pytest.mark.slow
def test_replicas_answer_from_one_store_and_stop(toy_bundle, tmp_path):
    pytest.importorskip("ray.serve", reason="the extra ray is not installed")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    command = [sys.executable, "-m", "edgerec", "serve", str(toy_bundle), "--store", str(tmp_path / "s.sqlite"),
               "--port", str(port), "--replicas", "1:2", "--token-file", str(tmp_path / "token")]  # fmt: skip

    def call(path, body=None, **headers):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}", **headers}
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or "null")

    def refused(*request, **headers):
        with pytest.raises(urllib.error.HTTPError) as caught:
            call(*request, **headers)
        return caught.value.code

    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            for _ in range(300):
                try:
                    call("/health")
                    break
                except OSError:
                    time.sleep(0.5)
            for _ in range(30):
                assert call("/observe", {"item": "i7", "time": toy.NOW_MS}) == {"stored": True}
            firsts = {call("/recommend", {"k": 1, "now": toy.NOW_MS})["items"][0]["item"] for _ in range(20)}
            assert firsts == {"i7"}
            # Whoever may not call a service without replicas may not call one with them.
            event = {"item": "i7", "profile": "a/b"}
            assert refused("/recommend", {}, Authorization="Bearer no") == 401
            assert refused("/observe", event, Host="evil.example") == 400
            assert refused("/observe", event, Origin="https://evil.example") == 403
            assert refused("/observe", {**event, "time": 253_402_300_799_000}) == 422
            assert refused("/recommend", {"exclude": "0045"}) == 422
            assert call("/observe", event) == {"stored": True} and call("/forget", {"profile": "a/b"}) is None
            assert call("/health")["events"] == 30
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
