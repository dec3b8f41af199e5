"""A wall clock that a test lets jump, for whole processes: date and time of day only, no clock that runs evenly."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long *shift_s;

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int status = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        if (!shift_s) {
            int file = open(getenv("JUMPING_CLOCK"), O_RDONLY);
            shift_s = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
            close(file);
        }
        now->tv_sec += *shift_s;
    }
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;
    int status = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return status;
}

time_t time(time_t *now)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now)
        *now = exact.tv_sec;
    return exact.tv_sec;
}
"""


class JumpingClock:
    """The clock of all processes that are started with its `environment`."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler: apt-get install gcc libc6-dev")
        source, library, self._shift = folder / "clock.c", folder / "clock.so", folder / "shift"
        source.write_text(_SOURCE)
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
        self._shift.write_bytes(struct.pack("=q", 0))
        self.environment = {"LD_PRELOAD": str(library), "JUMPING_CLOCK": str(self._shift)}

    def jump(self, hours: int) -> None:
        """Let the clock be so many hours off."""
        with self._shift.open("r+b") as file:
            file.write(struct.pack("=q", hours * 3600))
