#!/usr/bin/env bash
# Trains in the built-in simulator and races each model in both: what a policy has learned there holds in Gazebo.
#
# tests/tools/transfer.sh slow                            three tracks, the default actions, 5 laps each: minutes a track
# tests/tools/transfer.sh fast ROUTE.npy [MINUTES [sim]]  10 actions of 1.5 to 4 m/s, MINUTES (20) of training in `sim`
#                                                         (builtin, or gazebo for the other way round), 5 laps in both
#
# Runs are kept beside the others (undercut ls), each with comparison.json and comparison.png. Needs `make gazebo`.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
undercut=.venv/bin/undercut

case ${1:-} in
slow)
    for track in paddock kidney river; do
        "$undercut" train "transfer_$track" --track "$track" --randomize --iterations "${ITERATIONS:-10}"
        "$undercut" compare "transfer_$track" --laps 5
    done
    ;;
fast)
    route=${2:?a route file} minutes=${3:-20} sim=${4:-builtin}
    actions=$(mktemp --suffix=.json)
    trap 'rm -f "$actions"' EXIT
    cat >"$actions" <<'JSON'
{
  "action_space": [
    {"steering_angle": -30, "speed": 1.5},
    {"steering_angle": -20, "speed": 2.0},
    {"steering_angle": -10, "speed": 2.5},
    {"steering_angle": -5, "speed": 3.5},
    {"steering_angle": 0, "speed": 2.5},
    {"steering_angle": 0, "speed": 4.0},
    {"steering_angle": 5, "speed": 3.5},
    {"steering_angle": 10, "speed": 2.5},
    {"steering_angle": 20, "speed": 2.0},
    {"steering_angle": 30, "speed": 1.5}
  ],
  "sensor": ["FRONT_FACING_CAMERA"],
  "neural_network": "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",
  "version": "5"
}
JSON
    "$undercut" train "transfer_fast_$sim" --track "$route" --metadata "$actions" --sim "$sim" --minutes "$minutes" \
        --iterations 2000
    "$undercut" compare "transfer_fast_$sim" --laps 5
    ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 64
    ;;
esac
