"""A racer's preset.py: rl_coach's agent parameters in place of ours (the guidance's "modify the neural network").

The file defines `get_agent_params(metadata, hyperparameters)` that returns an rl_coach AgentParameters object, or such
an object named `agent_params`. What the preset says holds: it is free to use the hyperparameters or not.
`default_agent_params(metadata, hyperparameters)` gives ours, to change and to return.
"""

import contextlib
import inspect
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any

from contract.errors import InputError, UndercutError
from contract.fields import MISSING, nearest
from contract.hyperparameters import Hyperparameters
from contract.metadata import ContinuousActions, ModelMetadata
from contract.pythonfile import compile_python, leaves_no_bytecode, message_of, read_python
from trainer.coach import shim
from trainer.common import networks

FUNCTION, OBJECT = "get_agent_params", "agent_params"
_WHAT = "the preset"
BUILD_RULE = "rl_coach must be able to build the preset's network"
_RULE = f"a preset defines {FUNCTION}(metadata, hyperparameters) or {OBJECT}: rl_coach's agent parameters"


def default_agent_params(metadata: ModelMetadata, hyperparameters: Hyperparameters) -> Any:
    """What is used without a preset: rl_coach's ClippedPPOAgentParameters with the metadata's network."""
    shim.install()
    return networks.agent_parameters(metadata, hyperparameters)


@dataclass(frozen=True)
class Preset:
    """A racer's file that has proved to be Python."""

    path: Path
    code: CodeType

    def agent_parameters(self, metadata: ModelMetadata, hyperparameters: Hyperparameters) -> Any:
        """Run the file and take the parameters out of it, checked; InputError says what is wrong with them."""
        shim.install()
        module = ModuleType(f"racers_{self.path.stem}")
        module.__file__ = str(self.path)
        with self.blamed("the preset must run to its end"), leaves_no_bytecode():
            sys.path.insert(0, str(self.path.resolve().parent))  # for modules beside it
            try:
                exec(self.code, module.__dict__)
            finally:
                sys.path.remove(str(self.path.resolve().parent))
        function = getattr(module, FUNCTION, None)
        if function is None:
            parameters = getattr(module, OBJECT, MISSING)
        else:
            self._check_signature(function)
            with self.blamed(f"{FUNCTION} must return rl_coach's agent parameters"):
                parameters = function(metadata, hyperparameters)
        if parameters is MISSING:
            guess = nearest(FUNCTION, [name for name in vars(module) if not name.startswith("_")])
            fix = (
                f"rename {guess!r} to {FUNCTION!r}?"
                if guess
                else f"add: def {FUNCTION}(metadata, hyperparameters): ..."
            )
            raise InputError(str(self.path), MISSING, _RULE, fix)
        _check(parameters, metadata, str(self.path))
        _use_tensorflow_layers(parameters)
        return parameters

    @contextlib.contextmanager
    def blamed(self, rule: str) -> Iterator[None]:
        """While open, an exception is the racer's: it becomes an InputError with the racer's traceback."""
        try:
            yield
        except UndercutError:
            raise
        except (Exception, SystemExit) as error:
            own, line = self._racers(error.__traceback__)
            trace = "".join(traceback.format_exception(type(error), error, own)).rstrip()
            where = f"{self.path}, line {line}" if line else str(self.path)
            fix = f"correct the preset; where it failed:\n{trace}"
            raise InputError(where, message_of(error), rule, fix) from None

    def _racers(self, trace: TracebackType | None) -> tuple[TracebackType | None, int | None]:
        """The traceback from the first frame of the racer's file on, and the last line of it that ran."""
        frame, first, line = trace, None, None
        while frame is not None:
            if frame.tb_frame.f_code.co_filename == str(self.path):
                first, line = first or frame, frame.tb_lineno
            frame = frame.tb_next
        return first or trace, line

    def _check_signature(self, function: Any) -> None:
        if not callable(function):
            raise InputError(f"{self.path}: {FUNCTION}", function, _RULE, f"make it a function, or name it {OBJECT}")
        try:
            inspect.signature(function).bind(None, None)
        except TypeError:
            shown = f"def {FUNCTION}{inspect.signature(function)}"
            fix = f"write def {FUNCTION}(metadata, hyperparameters):"
            raise InputError(f"{self.path}: {FUNCTION}", shown, _RULE, fix) from None


def load_preset(path: Path) -> Preset:
    """Compile a racer's preset; InputError for a missing file or a syntax error."""
    return Preset(path, compile_python(read_python(path, _WHAT), path, _WHAT))


def is_q_learning(parameters: Any) -> bool:
    """Whether rl_coach's parameters are those of DQN or double DQN; its variants have heads of other shapes."""
    return getattr(parameters, "path", "") in (
        "rl_coach.agents.dqn_agent:DQNAgent",
        "rl_coach.agents.ddqn_agent:DDQNAgent",
    )


def _check(parameters: Any, metadata: ModelMetadata, where: str) -> None:
    """What the agents here can train: clipped PPO, or Q-learning on discrete actions, on the metadata's sensors."""
    from rl_coach.agents.clipped_ppo_agent import ClippedPPOAgentParameters

    if not (isinstance(parameters, ClippedPPOAgentParameters) or is_q_learning(parameters)):
        fix = "return default_agent_params(metadata, hyperparameters) from trainer.coach.preset, changed as you like"
        rule = "a preset's agent is rl_coach's ClippedPPOAgent, DQNAgent or DDQNAgent"
        raise InputError(where, type(parameters).__name__, rule, fix)
    if metadata.algorithm != "clipped_ppo":
        fix = 'set "training_algorithm" to "clipped_ppo" in model_metadata.json, or train without a preset'
        raise InputError(where, metadata.algorithm, "a preset goes with clipped_ppo", fix)
    network = parameters.network_wrappers["main"]
    found, wanted = sorted(network.input_embedders_parameters), sorted(metadata.sensors)
    if found != wanted:
        fix = "name them as model_metadata.json does: input_embedders_parameters = {sensor: ...}"
        raise InputError(f"{where}: input_embedders_parameters", found, f"the inputs are the sensors {wanted}", fix)
    middleware = network.middleware_parameters.parameterized_class_name
    if middleware != "FCMiddleware":
        rule = "the middleware is FCMiddleware: the car keeps no state between frames"
        raise InputError(f"{where}: middleware_parameters", middleware, rule, "use FCMiddlewareParameters")
    heads = [head.parameterized_class_name for head in network.heads_parameters]
    if is_q_learning(parameters):
        _check_q_learning(parameters, heads, metadata, where)
        return
    if heads != ["VHead", "PPOHead"]:
        fix = "leave heads_parameters as ClippedPPONetworkParameters has them"
        raise InputError(f"{where}: heads_parameters", heads, "the heads are VHead and PPOHead", fix)
    if parameters.algorithm.use_kl_regularization:
        rule = "clipped PPO bounds its steps by clipping"
        raise InputError(f"{where}: use_kl_regularization", True, rule, "leave it False")


def _check_q_learning(parameters: Any, heads: list[str], metadata: ModelMetadata, where: str) -> None:
    from rl_coach.schedules import ConstantSchedule, LinearSchedule

    if isinstance(metadata.actions, ContinuousActions):
        rule = "Q-learning chooses among discrete actions"
        fix = 'list the actions in model_metadata.json with "action_space_type": "discrete"'
        raise InputError(where, "a continuous action space", rule, fix)
    if heads not in (["QHead"], ["DuelingQHead"]):
        fix = "use QHeadParameters or DuelingQHeadParameters"
        raise InputError(f"{where}: heads_parameters", heads, "one head gives the action values", fix)
    schedule = getattr(parameters.exploration, "epsilon_schedule", None)
    if not isinstance(schedule, LinearSchedule | ConstantSchedule):
        fix = "set params.exploration.epsilon_schedule = LinearSchedule(1.0, 0.05, 10000)"
        rule = "exploration is e-greedy with a linear or constant schedule"
        raise InputError(f"{where}: exploration", type(schedule).__name__, rule, fix)


def _use_tensorflow_layers(parameters: Any) -> None:
    """rl_coach's conversion of BatchnormActivationDropout gives back a pair instead of a layer: convert it here."""
    from rl_coach.architectures.layers import BatchnormActivationDropout as Plain
    from rl_coach.architectures.tensorflow_components.layers import BatchnormActivationDropout as Layer

    for network in parameters.network_wrappers.values():
        for component in (*network.input_embedders_parameters.values(), network.middleware_parameters):
            if isinstance(component.scheme, list | tuple):
                component.scheme = [
                    Layer(layer.batchnorm, layer.activation_function, layer.dropout_rate)
                    if type(layer) is Plain
                    else layer
                    for layer in component.scheme
                ]
