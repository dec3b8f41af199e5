"""The built-in car against recordings of the real simulator that no constant was fitted to."""

import numpy as np
import pytest

from tests.tools.calibrate_vehicle import fit_kinematic, held_out_files, recordings, replay, windows

pytestmark = pytest.mark.skipif(not recordings(), reason="the shared reference files are not beside this checkout")


@pytest.mark.parametrize("name", list(recordings()))
def test_the_car_with_tyre_slip_stays_near_recorded_ones(name: str) -> None:
    pieces = windows(held_out_files(recordings()[name]), every=31)
    assert len(pieces.poses) > 150
    error = np.median(pieces.errors_m(replay(pieces)), axis=0)
    rival = fit_kinematic(pieces, plain=True)  # fitted to the very rows that it is measured on
    rival_error = np.median(pieces.errors_m(rival.replay(pieces)), axis=0)
    assert error[4] <= 0.07
    assert error[14] <= 0.20
    assert error[4] <= 0.6 * rival_error[4]
    assert error[14] <= 0.6 * rival_error[14]
