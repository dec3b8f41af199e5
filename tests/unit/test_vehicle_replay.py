"""The built-in cars against recordings of the real simulator."""

import numpy as np
import pytest

from contract.car import car_of_version
from contract.simtrace import Trace, from_csv
from tests.conftest import SHARED_REFERENCE
from undercut.calibration.measure import replay
from undercut.calibration.pieces import AHEAD, cut

SIMTRACES = SHARED_REFERENCE / "simtraces"
RECORDED = {  # name: version, limits in metres after 5 and 15 rows
    "droa-Spain_track": (5, 0.05, 0.11),
    "droa-Spain_track-evaluation": (5, 0.04, 0.10),
    "console-AmericasGeneratedInclStart": (4, 0.05, 0.19),
    "console-reinvent_base": (4, 0.03, 0.115),
    "drfc-reinvent_base": (4, 0.035, 0.135),
}


def recorded(name: str) -> list[Trace]:
    files = sorted((SIMTRACES / name).glob("*-iteration.csv"))
    return [trace for path in files for trace in from_csv(path.read_text(), path.name)]


@pytest.mark.skipif(not SIMTRACES.is_dir(), reason="the shared reference files are not beside this checkout")
@pytest.mark.parametrize("name", RECORDED)
def test_a_generations_car_stays_near_recorded_ones_and_the_other_does_not(name: str) -> None:
    version, near_m, far_m = RECORDED[name]
    pieces = cut(recorded(name), every=2 if "droa" in name else 13).steady()
    assert len(pieces) > 40
    error = np.median(pieces.errors_m(replay(pieces, car_of_version(version))), axis=0)
    other = np.median(pieces.errors_m(replay(pieces, car_of_version(9 - version))), axis=0)
    assert error[4] <= near_m
    assert error[AHEAD - 1] <= far_m
    assert error[AHEAD - 1] <= 0.65 * other[AHEAD - 1]
