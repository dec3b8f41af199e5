#!/bin/bash
# Runs gzserver on a world, with an X server of its own, until either ends or standard input does: whoever started this
# has gone then, and nothing is to stay behind. Usage: serve.sh WORLD.sdf PLUGIN_FOLDER PORT
#   GUI_DISPLAY      gzclient shows the world there
#   RENDER_DISPLAY   the cameras' pictures are drawn there, by its GPU, instead of by Mesa on an X server of our own
set -u
world=$1 plugins=$2 port=$3
work=$(mktemp -d)
pids=()
end() {
    trap - EXIT TERM INT
    [ ${#pids[@]} -eq 0 ] || kill -9 "${pids[@]}" 2>/dev/null
    rm -rf "$work"
}
trap end EXIT
trap 'exit 143' TERM INT

if [ -n "${RENDER_DISPLAY:-}" ]; then
    export DISPLAY=$RENDER_DISPLAY
else
    command -v Xvfb >/dev/null || { echo "undercut: Xvfb is missing: the camera needs an X server" >&2; exit 69; }
    mkfifo "$work/display"
    exec 3<>"$work/display"
    Xvfb -displayfd 3 -screen 0 64x64x24 +extension GLX -nolisten tcp >"$work/xvfb.log" 2>&1 &
    pids+=($!)
    if ! read -r -t 30 -u 3 number; then
        echo "undercut: Xvfb did not start within 30 s:" >&2
        cat "$work/xvfb.log" >&2
        exit 69
    fi
    exec 3>&-
    export DISPLAY=:$number LIBGL_ALWAYS_SOFTWARE=1
fi
export GAZEBO_MODEL_DATABASE_URI="" GAZEBO_IP=127.0.0.1 IGN_IP=127.0.0.1 LC_ALL=C.UTF-8
export GAZEBO_MASTER_URI=http://127.0.0.1:$port
export GAZEBO_PLUGIN_PATH=$plugins
export GAZEBO_RESOURCE_PATH=/usr/share/gazebo-11
export OGRE_RESOURCE_PATH=${OGRE_RESOURCE_PATH:-/usr/lib/x86_64-linux-gnu/OGRE-1.9.0}
export HOME=$work ALSOFT_DRIVERS=null
gzserver --verbose "$world" </dev/null &
pids+=($!)
ends_all=("${pids[@]}")
if [ -n "${GUI_DISPLAY:-}" ]; then # whose window may be closed while the world goes on
    DISPLAY=$GUI_DISPLAY gzclient --verbose </dev/null >"$work/gzclient.log" 2>&1 &
    pids+=($!)
fi
exec 4<&0 # a command in the background has no standard input of its own
(cat <&4 >/dev/null; kill -TERM $$) &
pids+=($!)
wait -n "${ends_all[@]}" $!
exit $?
