import io
import re
import time

from edgerec.progress import Lines, Outlook, Silent, progress_for


def test_elsewhere_than_on_a_terminal_progress_is_plain_lines():
    out = io.StringIO()
    progress = progress_for(out)
    with progress.stage("Training"):
        progress.say("3 rows")

    assert out.getvalue() == "== Training\n   3 rows\n"


def test_a_part_that_lasts_is_said_again_and_again_with_its_count_and_note():
    out = io.StringIO()
    with Lines(out, every_s=0.02).track(3, "epochs") as track:
        track.advance(note="loss 0.5")
        time.sleep(0.1)
        track.advance()
        time.sleep(0.1)

    lines = out.getvalue().splitlines()
    assert lines[0] == "   epochs: 1/3, 0 s, loss 0.5" and lines[-1] == "   epochs: 2/3, 0 s, loss 0.5"
    assert 4 < len(lines) < 12


def test_work_without_a_count_is_said_too_and_short_work_is_not():
    out, quick = io.StringIO(), io.StringIO()
    with Lines(out, every_s=0.02).stage("Training"):
        time.sleep(0.05)
    with Lines(quick, every_s=10).track(3, "epochs") as track:
        track.advance()

    assert out.getvalue().splitlines()[:2] == ["== Training", "   Training: 0 s"]
    assert quick.getvalue() == ""


def test_the_innermost_part_is_said_with_the_time_left_of_all():
    out = io.StringIO()
    progress = Lines(out, every_s=0.02)
    progress.expect({"Training": {"members": 50.0, "folds": 70.0}})
    with progress.stage("Training"), progress.track(None, "members"), progress.track(None, "trees"):
        time.sleep(0.05)

    assert re.search(r"^   trees: 0 s; about 2 minutes left in all$", out.getvalue(), re.MULTILINE)


def test_nothing_is_said_after_the_work():
    out = io.StringIO()
    with Lines(out, every_s=0.01).stage("Training"):
        pass
    time.sleep(0.05)

    assert out.getvalue() == "== Training\n"


def test_the_time_left_is_what_was_expected_of_the_rest():
    outlook = Outlook({"train": {"folds": 60.0, "": 20.0}, "distill": {"student": 40.0}})

    assert outlook.left_s("train", "folds", seconds=10.0) == 110.0
    outlook.finish_part("train", "folds", 60.0)
    assert outlook.left_s("train", "", seconds=0.0) == 60.0
    outlook.finish_stage("train")
    assert outlook.left_s() == 40.0
    outlook.finish_stage("distill")
    assert outlook.left_s() is None


def test_a_machine_that_is_slower_than_expected_has_more_left():
    outlook = Outlook({"train": {"folds": 60.0, "": 60.0}})
    outlook.finish_part("train", "folds", 120.0)

    assert outlook.left_s("train") == 60.0 * (30 + 120) / (30 + 60)  # a quarter of all, 30 s, counts as on time


def test_a_count_says_more_than_what_was_expected():
    outlook = Outlook({"train": {"folds": 60.0}})

    assert outlook.left_s("train", "folds", seconds=90.0, share=0.9) < 20.0
    assert outlook.left_s("train", "folds", seconds=5.0, share=0.01) > 50.0


def test_silence_is_silent(capsys):
    progress = Silent()
    progress.expect({})
    progress.headline("w")
    with progress.stage("x"), progress.track(1, "z") as track:
        progress.say("y")
        track.advance()

    assert capsys.readouterr() == ("", "")
