import io

from edgerec.progress import Lines, Silent, progress_for


def test_elsewhere_than_on_a_terminal_progress_is_plain_lines():
    out = io.StringIO()
    progress = progress_for(out)
    progress.stage("Training")
    progress.say("3 rows")

    assert out.getvalue() == "== Training\n   3 rows\n"


def test_a_count_shows_its_note_and_is_not_repeated_too_often():
    often, seldom = io.StringIO(), io.StringIO()
    for out, every_s in ((often, 0.0), (seldom, 3600.0)):
        with Lines(out, every_s).track(3, "epochs") as track:
            track.advance(note="loss 0.5")
            track.advance()

    assert often.getvalue() == "   epochs: 1/3  loss 0.5\n   epochs: 2/3  loss 0.5\n"
    assert seldom.getvalue() == ""


def test_silence_is_silent(capsys):
    progress = Silent()
    progress.stage("x")
    progress.say("y")
    with progress.track(1, "z") as track:
        track.advance()

    assert capsys.readouterr() == ("", "")
