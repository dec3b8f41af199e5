"""A rigid body on four driven wheels that slide by Coulomb friction: the model of every car, for many cars at once.

In the car's frame, at the centre of mass, per unit of mass: u ahead, v to the left, r the yaw rate, f a wheel's force.

    u' = v r + sum fx        v' = sum fy - u r        r' = sum (x fy - y fx) / gyration_m²

All four wheels turn at one speed and both front wheels stand at one angle, as the real simulator's controllers have
them: there is no differential and no Ackermann geometry. So in a turn the outer wheels drag, the inner ones push, and
tyres that slide for it hold the turn back: a car turns about two thirds as sharply as its wheels stand, at any speed.
A wheel carries its share of the weight and resists its contact's sliding s along the wheel and across it with
friction g share s / sqrt(s² + slide²), each by itself: the friction pyramid of the simulator's physics engines,
softened around rest. Nothing is divided by the speed, so standing, creeping, spinning and sliding are one set of
equations.
"""

import math

from numba import njit

SUBSTEPS = 8
"""Substeps of a step at least; cars of much grip and little slide get more, since their slip dies out faster."""
GRAVITY_MPS2 = 9.81


@njit(cache=True, nogil=True)  # no fastmath: results must not depend on the machine
def advance(cars, motion, commands, grip, makes, steps_s, wheelbase_m, rear_axle_x_m):  # type: ignore[no-untyped-def]
    """Advance some cars (indices, (K,)) of a CarBatch's arrays by steps_s (K,), by the explicit midpoint rule.

    `motion` are x_m, y_m, heading_rad, speed_mps, steering_rad, sideways_mps, yaw_rate_rps and rim_mps of the batch.
    `commands` are change_s (K,), and in columns (K, 2) what holds until then and from then on: the rims' speeds and the
    wheels' angles that are tended to. `grip` (K,) multiplies the friction; `makes` (K, 8): friction, slide_mps,
    gyration_m, centre, half_track_m, speed_lag_s, steering_lag_s, steering_kick_rad. Numbers of other files come in as
    arguments: numba's cache does not see those files change.
    """
    x_m, y_m, heading_rad, speed_mps, steering_rad, sideways_mps, yaw_rate_rps, rim_mps = motion
    change_s, command_mps, command_rad = commands
    for k in range(len(cars)):
        i = cars[k]
        step_s = steps_s[k]
        friction, slide_mps, gyration_m, centre, half_m, speed_lag_s, steering_lag_s, kick_rad = makes[k]
        rear_m = centre * wheelbase_m
        front_m = wheelbase_m - rear_m
        centre_x_m = rear_axle_x_m + rear_m
        heading, u, v, r = heading_rad[i], speed_mps[i], sideways_mps[i], yaw_rate_rps[i]
        steering, rim = steering_rad[i], rim_mps[i]
        x = x_m[i] + centre_x_m * math.cos(heading)
        y = y_m[i] + centre_x_m * math.sin(heading)
        front = 0.5 * friction * grip[k] * GRAVITY_MPS2 * centre  # of one wheel
        rear = 0.5 * friction * grip[k] * GRAVITY_MPS2 * (1.0 - centre)
        # s / sqrt(s^2 + slide^2) is sign(s) without its leap: at rest there is no sliding, and the force must be 0
        # and not jump from step to step. slide_mps is the sliding at which a tyre gives 1 / sqrt(2) of its grip.
        soft = slide_mps * slide_mps
        inertia = gyration_m * gyration_m
        # the steepest rate at which sliding dies out bounds the substep, so that any car's equations are stable
        rate = friction * grip[k] * GRAVITY_MPS2 / slide_mps * (1.0 + (half_m * half_m + front_m * rear_m) / inertia)
        least = max(SUBSTEPS, math.ceil(step_s * rate))
        for part in range(2):
            share = change_s[k] / step_s if part == 0 else 1.0 - change_s[k] / step_s
            if share <= 0.0:
                continue
            # Each part has substeps of its own, so that the command changes exactly between two of them.
            substeps = math.ceil(least * share)
            dt = step_s * share / substeps
            target, angle = command_mps[k, part], command_rad[k, part]
            if part == 1 and kick_rad > 0.0:
                change = angle - command_rad[k, 0]
                # the derivative gain answers the leap of the error at once; the lag below brings the angle back
                steering += math.copysign(min(kick_rad, 2.0 * abs(change)), change)
            # First-order lags have a closed form: exact for any substep, so they do not limit its length.
            half_keep = math.exp(-0.5 * dt / steering_lag_s)
            rim_keep = math.exp(-0.5 * dt / speed_lag_s) if speed_lag_s > 0.0 else 0.0
            if speed_lag_s <= 0.0:
                rim = target
            for _ in range(substeps):
                u0, v0, r0 = u, v, r
                for stage in range(2):  # slopes at the start carry to the middle, those of the middle carry all the way
                    cos_steer, sin_steer = math.cos(steering), math.sin(steering)
                    spread = half_m * r
                    aside = v + front_m * r
                    # Slip: `along` and `across` are the speeds at which a contact slides along its wheel, less the
                    # rim, and across it. Each has a friction of its own, as the pyramid of the simulator's physics
                    # engine has; so a wheel that spins can still hold the car sideways. front wheels, in their own
                    # frame: the left one, then the right one
                    along = (u - spread) * cos_steer + aside * sin_steer - rim
                    across = aside * cos_steer - (u - spread) * sin_steer
                    pull = -front * along / math.sqrt(along * along + soft)
                    push = -front * across / math.sqrt(across * across + soft)
                    left_x, front_y = pull * cos_steer - push * sin_steer, pull * sin_steer + push * cos_steer
                    along = (u + spread) * cos_steer + aside * sin_steer - rim
                    across = aside * cos_steer - (u + spread) * sin_steer
                    pull = -front * along / math.sqrt(along * along + soft)
                    push = -front * across / math.sqrt(across * across + soft)
                    right_x = pull * cos_steer - push * sin_steer
                    front_y += pull * sin_steer + push * cos_steer
                    # rear wheels
                    aside = v - rear_m * r
                    rear_y = -2.0 * rear * aside / math.sqrt(aside * aside + soft)
                    along = u - spread - rim
                    rear_left = -rear * along / math.sqrt(along * along + soft)
                    along = u + spread - rim
                    rear_right = -rear * along / math.sqrt(along * along + soft)
                    ahead = v * r + (left_x + right_x) + (rear_left + rear_right)
                    left = front_y + rear_y - u * r
                    twist = half_m * ((right_x - left_x) + (rear_right - rear_left))
                    turn = (front_m * front_y - rear_m * rear_y + twist) / inertia
                    if stage == 0:
                        u, v, r = u0 + 0.5 * dt * ahead, v0 + 0.5 * dt * left, r0 + 0.5 * dt * turn
                        middle = heading + 0.5 * dt * r0
                        steering = angle + (steering - angle) * half_keep
                        rim = target + (rim - target) * rim_keep
                # the midpoint rule: positions move by the speeds in the middle of the substep, seen in the heading
                # there
                cos_heading, sin_heading = math.cos(middle), math.sin(middle)
                x += dt * (u * cos_heading - v * sin_heading)
                y += dt * (u * sin_heading + v * cos_heading)
                heading += dt * r
                u, v, r = u0 + dt * ahead, v0 + dt * left, r0 + dt * turn
                steering = angle + (steering - angle) * half_keep
                rim = target + (rim - target) * rim_keep
        heading = (heading + math.pi) % (2 * math.pi) - math.pi
        x_m[i] = x - centre_x_m * math.cos(heading)
        y_m[i] = y - centre_x_m * math.sin(heading)
        heading_rad[i], speed_mps[i], sideways_mps[i], yaw_rate_rps[i] = heading, u, v, r
        steering_rad[i], rim_mps[i] = steering, rim
