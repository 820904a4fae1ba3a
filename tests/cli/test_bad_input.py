"""Wrong input to any command: one clear line, exit code 2, and no file is written or replaced."""

import shutil

import pytest
from typer.testing import CliRunner

from edgerec.cli.main import COMMANDS, app

HEADER = "customer,product,when,is_click,is_like,watched,tab,country,age\n"
LOG = HEADER + "ann,i5,2023-11-14 10:00:00,1,0,3.5,home,DE,31\nbob,i2,2023-11-14 11:00:00,0,0,0,search,FR,\n"
SETTINGS = """name = "toy"
[data]
interactions = "FILE"
user = "customer"
item = "product"
time = "when"
[[task]]
name = "next"
kind = "retrieval"
"""
TIMES_NAN = LOG.replace("2023-11-14 10:00:00", "NaN")


@pytest.fixture
def folder(tmp_path, toy_bundle, monkeypatch):
    """A working folder with a good bundle and log, and many bad ones."""
    monkeypatch.chdir(tmp_path)
    files = {
        "log.csv": LOG,
        "empty.csv": "",
        "header.csv": HEADER,
        "nan.csv": TIMES_NAN,
        "nolabel.csv": "customer,product,when\nann,i1,2023-11-14 10:00:00\n",
        "broken.parquet": "PAR1",
        "file.txt": "mine",
        "mine.toml": "mine",
        "mine.parquet": "mine",
        "broken.toml": "name = \n",
        "good.toml": SETTINGS.replace("FILE", "log.csv"),
        "gone.toml": SETTINGS.replace("FILE", "gone.csv"),
        "empty.toml": SETTINGS.replace("FILE", "empty.csv"),
        "column.toml": SETTINGS.replace("FILE", "log.csv").replace('"customer"', '"custmer"'),
        "key.toml": SETTINGS.replace("FILE", "log.csv").replace("time =", "tme ="),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for name in ("flipped", "truncated", "beheaded", "escaping"):
        shutil.copytree(toy_bundle, tmp_path / name)
    weights = toy_bundle.joinpath("weights.bin").read_bytes()
    (tmp_path / "flipped/weights.bin").write_bytes(bytes([weights[0] ^ 1]) + weights[1:])
    (tmp_path / "truncated/weights.bin").write_bytes(weights[:-10])
    (tmp_path / "beheaded/manifest.json").write_text("")
    manifest = (toy_bundle / "manifest.json").read_text()
    (tmp_path / "escaping/manifest.json").write_text(manifest.replace('"weights.bin":', '"../weights.bin":'))
    return tmp_path


BUNDLE_COMMANDS = (
    "recommend B", "similar B i1", "score B --rows log.csv -o out.parquet", "verify B", "inspect B", "bench B",
)  # fmt: skip
BUNDLES = {
    "gone": "no bundle here",
    "file.txt": "cannot be read",
    "flipped": "weights.bin: damaged",
    "truncated": "weights.bin: 166 bytes, expected 176",
    "beheaded": "not valid JSON",
    "escaping": "'../weights.bin' is not a plain file name",
}
SETTINGS_FILES = {
    "none.toml": "no such file; write one with: edgerec init LOG",
    "broken.toml": "is not valid TOML",
    "key.toml": "did you mean 'time'",
}
OTHERS = {
    "init gone.csv": "gone.csv: no such file",
    "init empty.csv": "is empty; expected a header and rows",
    "init header.csv": "has no rows; expected at least one",
    "init file.txt": "has no rows",
    "init broken.parquet": "cannot be read",
    "init log.csv -o mine.toml": "overwrite it with --force",
    "init log.csv --items gone.csv": "gone.csv: no such file",
    "prepare -c gone.toml": "gone.csv: no such file",
    "prepare -c empty.toml": "is empty; expected a header and rows",
    "prepare -c column.toml": "no column 'custmer'; did you mean 'customer'?",
    "prepare -c good.toml --run-dir file.txt": "file.txt",
    "run -c gone.toml": "gone.csv: no such file",
    "run -c good.toml --until shipping": "there is no such stage",
    "search -c good.toml --device kioks-x86": "did you mean 'kiosk-x86'?",
    "search -c good.toml --measured gone.json": "gone.json: is not a measurement of a device",
    "encoder -c good.toml --device web-wasm": "web-wasm encodes no texts",
    "bench bundle --save none/pi.json": "there is no folder none",
    "keygen none/shop": "No such file or directory",
    "sign bundle --key gone.key": "gone.key: cannot be read",
    "verify bundle --public-key gone.pub": "gone.pub: cannot be read",
    "run -c good.toml --effort fast": "--effort fast: expected quick, normal or full",
    "demo --effort fast": "--effort fast: expected quick, normal or full",
    "demo music": "expected one of: retail, video, kiosk",
    "demo retail --run-dir file.txt": "file.txt: File exists",
    "diff bundle gone -c good.toml": "run: edgerec prepare",
    "refresh -c good.toml": "no bundle here",
    "refresh -c gone.toml": "no bundle here",
    "doctor -c broken.toml": "is not valid TOML",
    "evaluate -c good.toml --events gone.jsonl --reward click": "no such file; write one with: edgerec events lists",
    "evaluate -c good.toml --events log.csv --reward click": "log.csv, line 1: not JSON",
    "evaluate -c good.toml --events empty.csv --reward click": "has no row; expected lines of edgerec events lists",
    "evaluate -c good.toml --events log.csv": "the settings have no binary task",
    "evaluate -c good.toml --reward click": "give them with --events",
    "explain bundle --weights next=1": "give its id",
    "devices phone": "no device 'phone' (known: ",
    "bench bundle --device kioks-x86": "did you mean 'kiosk-x86'?",
    "bench bundle --device none.toml": "none.toml: cannot be read",
    "bench bundle --compare gone": "gone: no bundle here",
    "recommend bundle -k 0": "k must be at least 1, got 0",
    "recommend bundle --weights next=nan": "next must be a number",
    "recommend bundle --weights nxt=1": "no task 'nxt'",
    "recommend bundle --where price<": "ends too early",
    "recommend bundle --context age=old": "must be a number",
    "recommend bundle --user ann": "--user needs --history",
    "recommend bundle --user zoe --history log.csv": "its users are such as ann, bob",
    "recommend bundle --user ann --history gone.csv": "gone.csv: no such file",
    "recommend bundle --user ann --history empty.csv": "is empty",
    "recommend bundle --user ann --history header.csv": "has no rows",
    "recommend bundle --user ann --history nolabel.csv": "no column 'is_click'",
    "recommend bundle --stage student": "it needs --users FILE",
    "recommend bundle --users header.csv -o out.parquet": "is empty in all rows",
    "recommend bundle --users nan.csv -o out.parquet": "1 rows have no readable 'when', the first is row 0",
    "recommend bundle --users log.csv -o out.csv": "ends in .parquet",
    "recommend bundle --users log.csv -o mine.parquet": "add --force to replace it",
    "recommend bundle --users log.csv -o none/out.parquet": "there is no folder none",
    "score bundle --rows gone.csv -o out.parquet": "gone.csv: no such file",
    "score bundle --rows empty.csv -o out.parquet": "is empty",
    "score bundle --rows nan.csv -o out.parquet": "the first is row 0",
    "score bundle --rows broken.parquet -o out.parquet": "cannot be read",
    "score bundle --rows log.csv -o mine.parquet": "add --force to replace it",
    "score bundle --rows log.csv -o out.parquet --stage student": "run: edgerec prepare",
    "explain bundle i99": "no item 'i99' in the catalogue",
    "explain bundle i1 --user ann": "--user and --history go together",
    "delta gone bundle -o d": "gone: no bundle here",
    "delta bundle bundle -o d": "raise `version` in edgerec.toml",
    "embed phone bundle app": "no kind 'phone'; there are python and web",
    "embed web bundle app": "set web = true in [quantization]",
    "embed web bundle app --language xx": "no words for 'xx'",
    "embed web bundle app --currency pounds": "expected three capital letters such as GBP, got 'pounds'",
    "embed python gone app": "gone: no bundle here",
    "embed python bundle bundle": "exists and is not empty",
    "serve gone": "gone: no bundle here",
    "serve bundle --workers 2": "give --store FILE",
    "serve bundle --store s.sqlite --replicas many": "expected LEAST:MOST such as 1:4",
    "serve bundle --host 0.0.0.0": "calls need a token: give --token-file FILE",
    "serve bundle --cors *": "expected an origin without a path",
    "serve bundle --engine torch": "expected one of auto, native, onnxruntime, numpy",
    "events show gone.sqlite": "gone.sqlite: no such file",
    "events show file.txt": "cannot be used as an event log",
    "events export log.csv --epsilon inf": "expected a number of at least 0.01",
    "events dance log.csv": "cannot be used as an event log",
    "similar bundle i99": "no item 'i99' in the catalogue",
    "similar bundle i1 -k 0": "k must be at least 1, got 0",
}
CASES = {
    **{c.replace("B", b, 1): said for c in BUNDLE_COMMANDS for b, said in BUNDLES.items()},
    **{
        f"{c} -c {f}": said
        for c in (
            "prepare",
            "train",
            "distill",
            "prune",
            "quantize",
            "evaluate",
            "run",
            "transfer",
            "ablate",
            "tune",
            "search",
            "encoder",
        )
        for f, said in SETTINGS_FILES.items()
    },
    **{
        f"{c} -c good.toml": "not there or not finished; run: edgerec prepare"
        for c in ("train", "distill", "prune", "quantize", "evaluate")
    },
    "ablate -c good.toml --only magic": 'no change "magic" of this student; there are "the log alone"',
    **OTHERS,
}


@pytest.mark.parametrize(("command", "said"), CASES.items(), ids=list(CASES))
def test_wrong_input_is_one_line_and_changes_nothing(folder, command, said):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    result = CliRunner().invoke(app, command.split(" "))
    # Lines before the error tell how far a stage came.
    lines = [line for line in result.stderr.splitlines() if not line.startswith(("== ", "   "))]

    assert (result.exit_code, len(lines)) == (2, 1), result.output
    assert said in lines[0]
    assert "Traceback" not in result.output
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "runs" not in path.parts}
    assert after == before


def test_every_command_is_refused_something_here():
    assert {case.split(" ")[0] for case in CASES} == set(COMMANDS)
