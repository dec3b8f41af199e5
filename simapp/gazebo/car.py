"""A car as Gazebo reads it: links, joints and tyres as SDF, and the numbers of its controllers for the plugin.

Its joints are those of the real simulator: four driven wheels at one speed and two hinges at one angle, each a motor
with a limited torque. Its tyres are those of ODE: a friction pyramid that gives way by a slip that grows with force.
The plugin sets that slip so that the tyre is the description's.
"""

import math

from contract.car import Car
from contract.vehicle import (
    BASE_LINK_HEIGHT_M,
    FRONT_AXLE_X_M,
    FRONT_WHEEL_Y_M,
    REAR_AXLE_X_M,
    REAR_WHEEL_Y_M,
    WHEELBASE_M,
)

HUB_HEIGHT_M = 0.01575
"""Of the wheels above base_link."""
RADIUS_M = BASE_LINK_HEIGHT_M + HUB_HEIGHT_M
"""Of Gazebo's wheels: their hubs and the camera are at the real car's height. A rim's speed is a car's own, see Car."""
CHASSIS_KG, WHEEL_KG, HINGE_KG = 5.0, 0.34055, 0.1
TOTAL_KG = CHASSIS_KG + 4 * WHEEL_KG + 2 * HINGE_KG
WHEEL_KGM2 = (0.00026046, 0.00026046, 0.00004)
"""About two diameters and the axle. The axle's is a tenth of the description's: all wheels are at their speed after one
physics step, and the description's whole inertia would turn the chassis back for it, so that the front wheels leave the
ground for a tenth of a second. In recordings of version 6 cars start with their whole grip."""
HINGE_KGM2 = 4e-6
CHASSIS_KGM2 = (0.010609, 0.050409)
"""About the axes ahead and to the left; the one about the vertical is what gives the car its radius of gyration."""
CHASSIS_Z_M = -0.004
"""Its centre of mass in base_link, so that the whole car's is 2.4 cm above the ground, as with wheels of 36 mm."""
GRAVITY_MPS2 = 9.8
CONTACT = "<contact><ode><kp>200000</kp><kd>400</kd><min_depth>0.0002</min_depth></ode></contact>"


def model(name: str, y_m: float, car: Car, body: str) -> str:
    """SDF of a car at rest at (0, y_m) that looks ahead; `body` is more SDF for base_link, such as a visual."""
    front_kg, rear_kg = 2 * (WHEEL_KG + HINGE_KG), 2 * WHEEL_KG
    centre_x_m = REAR_AXLE_X_M + car.centre * WHEELBASE_M
    chassis_x_m = (TOTAL_KG * centre_x_m - front_kg * FRONT_AXLE_X_M - rear_kg * REAR_AXLE_X_M) / CHASSIS_KG
    # about base_link's vertical: what is left of the whole car's for the chassis about its own
    turning = TOTAL_KG * (car.gyration_m**2 + centre_x_m**2) - CHASSIS_KG * chassis_x_m**2 - 4 * WHEEL_KGM2[0]
    turning -= front_kg * _square(FRONT_AXLE_X_M, FRONT_WHEEL_Y_M) + rear_kg * _square(REAR_AXLE_X_M, REAR_WHEEL_Y_M)
    parts = [
        f'<model name="{name}"><pose>0 {y_m} {BASE_LINK_HEIGHT_M} 0 0 0</pose><link name="base_link">',
        _inertial(CHASSIS_KG, *CHASSIS_KGM2, max(turning, 0.01), chassis_x_m, CHASSIS_Z_M),
        f"{body}</link>",
    ]
    for side, sign in (("left", 1), ("right", -1)):
        hinge = f"{side}_steering_hinge"
        parts.append(
            f'<link name="{hinge}_link"><pose>{FRONT_AXLE_X_M} {sign * FRONT_WHEEL_Y_M} {HUB_HEIGHT_M} 0 0 0</pose>'
            f"{_inertial(HINGE_KG, HINGE_KGM2, HINGE_KGM2, HINGE_KGM2)}</link>"
            f'<joint name="{hinge}" type="revolute"><parent>base_link</parent><child>{hinge}_link</child>'
            "<axis><xyz>0 0 1</xyz><limit><lower>-1</lower><upper>1</upper></limit></axis></joint>"
        )
        for end, x_m, y in (("front", FRONT_AXLE_X_M, FRONT_WHEEL_Y_M), ("rear", REAR_AXLE_X_M, REAR_WHEEL_Y_M)):
            axle, parent = f"{side}_{end}_axle", f"{hinge}_link" if end == "front" else "base_link"
            # Tyres touch in one point: ODE's solver shares the load of two between them as rounding has it, and the car
            # drifts. Their friction is that of the axle's direction and of rolling (fdir1). The real simulator's turns
            # with the wheel; what that leaves of it on the average is in the description's friction.
            parts.append(
                f'<link name="{axle}_wheel"><pose>{x_m} {sign * y} {HUB_HEIGHT_M} {-math.pi / 2} 0 0</pose>'
                f"{_inertial(WHEEL_KG, *WHEEL_KGM2)}"
                f'<collision name="tyre"><geometry><sphere><radius>{RADIUS_M}</radius></sphere></geometry>'
                f"<surface><friction><ode><fdir1>0 0 1</fdir1></ode></friction>{CONTACT}</surface></collision></link>"
                f'<joint name="{axle}" type="revolute"><parent>{parent}</parent><child>{axle}_wheel</child>'
                "<axis><xyz>0 0 1</xyz></axis></joint>"
            )
    return "".join(parts) + "</model>"


def controllers(car: Car) -> dict[str, float]:
    """What plugin/car.hh's Vehicle is told of a car.

    A joint's motor turns it as fast as it is told, with the torque that it takes up to the limit. For wheels that are
    driven by effort that is near enough: tyres brake them by 0.3 rad/s at most, by their gains of 0.5 and 1 Nm for each
    rad/s. Hinges driven by effort turn at the ratio of their gains, 2 rad/s for each radian of error, after a kick for
    each new command; those of velocity joints are told their speed at the controllers' rate only.
    """
    effort = car.joints == "effort"
    rate = (
        1 / car.steering_lag_s
        if effort
        else -car.controller_hz * math.expm1(-1 / (car.controller_hz * car.steering_lag_s))
    )
    front_n, rear_n = (TOTAL_KG * GRAVITY_MPS2 * share / 2 for share in (car.centre, 1 - car.centre))
    return {
        "wheel_radius": RADIUS_M,
        "rest_height": BASE_LINK_HEIGHT_M,
        "friction": car.friction,
        "slide": car.slide_mps,
        "front_load": front_n,
        "rear_load": rear_n,
        "torque": car.effort_limit_nm,
        "speed_lag": car.speed_lag_s,
        "steering_rate": rate,
        "steering_kick": car.steering_kick_rad,
        "controller_rate": 0.0 if effort else car.controller_hz,
    }


def _square(x_m: float, y_m: float) -> float:
    return x_m * x_m + y_m * y_m


def _inertial(kg: float, xx: float, yy: float, zz: float, x_m: float = 0.0, z_m: float = 0.0) -> str:
    return (
        f"<inertial><pose>{x_m:.8f} 0 {z_m} 0 0 0</pose><mass>{kg}</mass>"
        f"<inertia><ixx>{xx:.8f}</ixx><iyy>{yy:.8f}</iyy><izz>{zz:.8f}</izz><ixy>0</ixy><ixz>0</ixz><iyz>0</iyz></inertia></inertial>"
    )
