"""`undercut drive` and `undercut ros`: a racer's own ROS node drives Gazebo's car, and ROS' tools beside it."""

import os
import subprocess
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from contract.config import RunConfig
from contract.errors import SimulatorError
from contract.host import HostSettings
from contract.metadata import ContinuousActions, ModelMetadata
from contract.protocols import Phase, RolloutOrder
from contract.rollout import Rollout
from contract.vehicle import MAX_SPEED_MPS
from undercut.cli.options import GuiOption, ObstaclesOption, ReverseOption, SeedOption, race_values
from undercut.runs.run import DEFAULT_METADATA, TRACKS

FULL_LOCK_DEG = 30.0
HERE = "/tmp/here"
console = Console()


def drive(
    track: Annotated[str, typer.Option(help="name, NAME_cw or NAME_ccw, or a .npy route")] = "paddock",
    laps: Annotated[int, typer.Option(min=1, max=1_000, help="laps to drive, one after the other")] = 1,
    metadata: Annotated[
        Path, typer.Option(help="model_metadata.json, for its sensors", show_default="actions/default.json")
    ] = DEFAULT_METADATA,
    pace: Annotated[
        float, typer.Option(min=0, max=100, help="times real time; 0: wait for the node's answer to each frame")
    ] = 0.0,
    obstacles: ObstaclesOption = None,
    reverse_dir: ReverseOption = None,
    seed: SeedOption = None,
    gui: GuiOption = False,
) -> None:
    """Let a ROS node of your own drive in Gazebo: it sees the car's topics, and commands wheels and steering hinges."""
    values = {
        "name": "node",
        "track": track,
        "simulator": "gazebo",
        "seed": seed,
        "reverse_dir": reverse_dir,
        "race": race_values(None, obstacles, None),
    }
    given = {key: value for key, value in values.items() if value is not None}
    race = {key: value for key, value in values["race"].items() if value is not None}  # type: ignore[union-attr]
    config = RunConfig.build({**given, "race": race}, "command line")
    driven = node_laps(config, ModelMetadata.load(metadata, strict=False), laps, pace)
    from undercut.runs.progress import lap_table  # TensorFlow takes seconds to import; --help should not

    console.print(lap_table(driven, f"a ROS node on {track}"))


def node_laps(config: RunConfig, model: ModelMetadata, laps: int, pace: float) -> list[Rollout]:
    """Evaluation laps, one after the other, of a car that a ROS node commands; observations are kept."""
    from simapp.gazebo.process import Screen
    from simapp.gazebo.roslink import NodePolicy, RosSimulator
    from simapp.gazebo.simulator import GazeboSimulator
    from simapp.race import Race
    from simapp.rollout import collect
    from simapp.starts import conditioned, start_line
    from simapp.tracks import load_track
    from undercut.backends.local.rollouts import evaluation_rules
    from undercut.runs.simulators import gazebo_root, ros_link

    found = load_track(config.track, [TRACKS])
    link = ros_link()
    screen = Screen(HostSettings.load().gui, HostSettings.load().gazebo_gpu)
    simulator = RosSimulator(GazeboSimulator(found, [model], gazebo_root(), screen=screen), link, announces=False)
    try:
        race = Race(simulator, found, evaluation_rules(config), [lambda _: 0.0], config.reverse_dir, config.race)
        actions = ContinuousActions((-FULL_LOCK_DEG, FULL_LOCK_DEG), (0.0, MAX_SPEED_MPS))
        policy = NodePolicy(link, simulator.names[0], actions, pace)
        freely = ModelMetadata(
            actions, model.sensors, model.network, model.algorithm, model.version, model.lidar_config, model.raw
        )
        order = RolloutOrder(Phase.evaluation, 0, 0, laps)
        start = conditioned(race, None, start_line(race, config.evaluation))
        return collect(race, policy, freely, order, start, config.seed, keep_observations=True)
    finally:
        simulator.close()


def ros(
    command: Annotated[list[str], typer.Argument(help="such as: rostopic list; rosbag record -a; python3 my_node.py")],
) -> None:
    """Run a command of ROS, or a node of your own, where Gazebo is installed; it sees this folder and the network."""
    from simapp.gazebo.process import Install
    from simapp.gazebo.roslink import VARIABLES, ros_command
    from undercut.runs.simulators import gazebo_root

    install = Install.find(gazebo_root())
    if install.root is None:
        where, inner = Path.cwd(), command
    else:
        where, inner = Path("/"), ["sh", "-c", f'cd {HERE} && exec "$@"', "sh", *command]
    spelt = ros_command(install, *inner, binds=((Path.cwd(), HERE),))
    try:
        # Ctrl-C goes to the command; it is waited for
        status = subprocess.Popen(spelt, cwd=where, env={**os.environ, **install.environment(*VARIABLES)}).wait()
    except OSError as error:
        raise SimulatorError(f"{command[0]} cannot be run: {error}") from None
    raise typer.Exit(status)
