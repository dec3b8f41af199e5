"""A racer's own ROS node: keeps to the middle of the asphalt that it sees. It needs rospy and numpy, and nothing of
undercut:

    undercut drive --track first_oval          # waits for a node that drives
    undercut ros python3 ros_node.py           # in another terminal, in this folder
"""

import numpy as np
import rospy
from sensor_msgs.msg import Image
from std_msgs.msg import Float64

WHEELS = ("left_rear_wheel", "right_rear_wheel", "left_front_wheel", "right_front_wheel")
HINGES = ("left_steering_hinge", "right_steering_hinge")
SPEED_MPS = 1.0
GAIN = 1.2

rospy.init_node("keep_to_the_road")
wheels = [rospy.Publisher(f"/racecar/{name}_velocity_controller/command", Float64, queue_size=1) for name in WHEELS]
hinges = [rospy.Publisher(f"/racecar/{name}_position_controller/command", Float64, queue_size=1) for name in HINGES]


def answer(image: Image) -> None:
    """One command to each picture: the simulation waits for it."""
    picture = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3).astype(int)
    strip = picture[image.height // 2 : 2 * image.height // 3]  # a metre ahead or so
    is_road = strip[..., 2] > strip[..., 0] + 8  # asphalt is bluish
    columns = np.nonzero(is_road)[1]
    middle = columns.mean() if len(columns) else image.width / 2
    steering = GAIN * (1.0 - 2.0 * middle / image.width)  # left is positive, in radians
    for publisher in wheels:
        publisher.publish(SPEED_MPS / 0.1)
    for publisher in hinges:
        publisher.publish(float(np.clip(steering, -0.5, 0.5)))


rospy.Subscriber("/racecar/camera/zed/rgb/image_rect_color", Image, answer, queue_size=1, buff_size=2**22)
rospy.spin()
