"""Head-to-head and tournament parameters: typed, there and back, and lists that do not fit each other."""

import pytest

from contract.config import EvaluationConfig, RaceConfig
from contract.errors import InputError
from undercut.races.params import RaceEntry, RaceParams, race_of, race_params, read_race_params
from undercut.runs.params_files import load_race

HEAD_TO_HEAD = """\
JOB_TYPE:                             "EVALUATION"
WORLD_NAME:                           "reinvent_base"
MODEL_S3_BUCKET:
 - bucket-1
 - bucket-2
MODEL_S3_PREFIX:
 - jobs/zig
 - zag/
METRICS_S3_OBJECT_KEY:
 - zig/evaluation_metrics.json
 - zag/evaluation_metrics.json
KINESIS_VIDEO_STREAM_NAME:
 -
 -
AWS_REGION:                           "us-east-1"
NUMBER_OF_TRIALS:                     "3"
OFF_TRACK_PENALTY:                    "2.0"
COLLISION_PENALTY:                    "5.0"
REVERSE_DIR:                          "true"
CAR_COLOR:
 - White
 - black
RACE_TYPE:                            "TIME_TRIAL"
DISPLAY_NAME:
 - First
 - Second
RACER_NAME:
 - a
 - b
MODEL_NAME:                           "both"
"""


def test_a_head_to_head_in_the_guidances_manner() -> None:
    race = read_race_params(HEAD_TO_HEAD, "h2h.yaml")
    own = [
        {
            "MODEL_S3_BUCKET": f"bucket-{n}",
            "METRICS_S3_OBJECT_KEY": f"{name}/evaluation_metrics.json",
            "KINESIS_VIDEO_STREAM_NAME": None,
        }
        for n, name in ((1, "zig"), (2, "zag"))
    ]
    assert race.racers == (
        RaceEntry("zig", "White", "both", "a", "First", own[0]),
        RaceEntry("zag", "Black", "both", "b", "Second", own[1]),
    )
    assert race.race == RaceConfig(race_type="HEAD_TO_MODEL")
    assert race.evaluation == EvaluationConfig(number_of_trials=3, off_track_penalty=2.0, collision_penalty=5.0)
    assert (race.track, race.reverse_dir) == ("reinvent_base", True)
    assert race.carried == {"AWS_REGION": "us-east-1"}
    assert race.unused == (*own[0], "AWS_REGION")
    assert race.folders() == ("zig", "zag")
    assert read_race_params(race_params(race, "unused"), "again.yaml") == race


def test_a_tournament_without_colours_and_names() -> None:
    race = read_race_params("MODEL_S3_PREFIX: [a, b, c, a]\nRACE_TYPE: HEAD_TO_BOT\nNUMBER_OF_BOT_CARS: 2", "x.yaml")
    assert race.track is None
    assert race.race.race_type == "HEAD_TO_BOT"
    assert race.titles() == ("a", "b", "c", "a-2")
    named = read_race_params("MODEL_S3_PREFIX: [a, b, c, a]\nDISPLAY_NAME: [Zig, Zig, '', '']\n", "x.yaml")
    assert named.titles() == ("Zig (a)", "Zig (b)", "c", "a-2")
    assert len({racer.car_color for racer in race.racers}) == 4
    assert race.folders() == ("a", "b", "c", "a-2")
    assert read_race_params(race_params(race, "paddock"), "x") == RaceParams(
        race.racers, race.race, race.evaluation, "paddock"
    )


def test_folders_differ_whatever_the_runs_are_called() -> None:
    assert race_of(["a-2", "a", "a", "a"]).folders() == ("a-2", "a", "a-3", "a-4")


def test_runs_of_the_command_line_stand_in_for_the_files() -> None:
    race = read_race_params(HEAD_TO_HEAD, "x", models=["p", "q"])
    assert [racer.model for racer in race.racers] == ["p", "q"]
    assert [racer.display_name for racer in race.racers] == ["First", "Second"]
    assert read_race_params("NUMBER_OF_TRIALS: 2", "x", models=["p", "q", "r"]).evaluation.number_of_trials == 2
    template = "MODEL_S3_PREFIX: [<a>, <b>, <c>]"
    assert [racer.model for racer in read_race_params(template, "x", models=["p", "q"]).racers] == ["p", "q"]
    assert race_of(["p", "q"]) == load_race(None, ["p", "q"])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (" - Second\n", "", ["line 24: DISPLAY_NAME", "2 models in MODEL_S3_PREFIX", "1 here"]),
        (" - bucket-2\n", " - bucket-2\n - bucket-3\n", ["line 3: MODEL_S3_BUCKET", "2 models", "3 here"]),
        (" - zag/\n", "", ["line 6: MODEL_S3_PREFIX", "two or more models"]),
        (" - zag/\n", " -\n", ["line 6: MODEL_S3_PREFIX[1]", "not filled in"]),
        (" - zag/\n", " - ${PREFIX}\n", ["MODEL_S3_PREFIX[1]", "not filled in"]),
        (" - black\n", " - pink\n", ["CAR_COLOR[1]", "'pink'", "Purple"]),
        ('"reinvent_base"', '""', ["line 2: WORLD_NAME", "not filled in"]),
        ('NUMBER_OF_TRIALS:                     "3"', "NUMBER_OF_TRIALS: [3, 3]", ["NUMBER_OF_TRIALS", "one value"]),
        (" - First\n", " - [First, Third]\n", ["DISPLAY_NAME[0]", "one value"]),
        ("RACER_NAME:", "RACE_NAME:", ["RACE_NAME", "did you mean"]),
        ('"EVALUATION"', '"TRAINING"', ["JOB_TYPE", "undercut train"]),
    ],
)
def test_lists_that_do_not_fit_are_named(old: str, new: str, words: list[str]) -> None:
    assert old in HEAD_TO_HEAD
    with pytest.raises(InputError) as caught:
        read_race_params(HEAD_TO_HEAD.replace(old, new), "h2h.yaml")
    for word in ["h2h.yaml", *words]:
        assert word in str(caught.value)


def test_one_run_is_no_race() -> None:
    with pytest.raises(InputError, match="two runs or more"):
        load_race(None, ["a"])
    with pytest.raises(InputError, match="2 values"):
        read_race_params("DISPLAY_NAME: [a, b, c]", "x", models=["p", "q"])
