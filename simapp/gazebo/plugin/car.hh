// One DeepRacer car of the world: its joints, its commands, and its state.
#pragma once
#include <array>
#include <string>
#include <gazebo/physics/physics.hh>
#include <gazebo/physics/ode/ODESurfaceParams.hh>
#include "wire.hh"

namespace undercut
{
// The numbers of one car that the world's <plugin> element passes on, see simapp/gazebo/car.py.
struct Vehicle
{
  double wheelRadius, restHeight;  // metres
  double friction, slide;  // a tyre gives s / sqrt(s^2 + slide^2) of its all when it slides by s m/s
  double frontLoad, rearLoad;  // N, of one tyre
  double torque;  // Nm, of every joint at most
  double speedLag;  // seconds, of the wheels' rims
  double steeringRate, steeringKick;  // rad/s for each rad of error, and rad at once for a new command
  double controllerRate;  // Hz; 0: at each physics step
  static Vehicle Read(const sdf::ElementPtr &sdf);
};

class Car
{
public:
  Car(const gazebo::physics::ModelPtr &model, const Vehicle &vehicle);

  /// At rest with straight wheels: exactly the same state whatever happened before.
  void Put(const Place &place);

  /// The commands of the control step that begins now.
  void Command(const Drive &drive);

  /// Before each physics step of dt seconds, `elapsed` seconds into the control step.
  void Control(double elapsed, double dt);

  /// Whether the car is part of the control step; the others stand still, as they are.
  void Release();
  void Freeze();

  void SetFriction(double factor);

  State Read() const;
  ignition::math::Pose3d Pose() const { return this->chassis->WorldPose(); }

private:
  void Grip();  // the tyres' give for this physics step
  double HingeAngle(int side) const;  // of the left and the right hinge

  gazebo::physics::ModelPtr model;
  gazebo::physics::LinkPtr chassis;
  std::array<gazebo::physics::JointPtr, 2> steer;  // left, right
  std::array<gazebo::physics::JointPtr, 4> drive;  // front left, front right, rear left, rear right
  std::vector<ignition::math::Pose3d> restPoses;  // of the links, in the model's frame
  Vehicle vehicle;
  Drive command{};
  std::array<boost::shared_ptr<gazebo::physics::ODESurfaceParams>, 4> tyres;  // of `drive`'s wheels
  double friction = 1;  // share of the tyres' grip that there is
  double rim = 0;  // m/s, what the wheels' rims are to have
  std::array<double, 2> hinges{};  // rad/s, what the hinges are to have until the controller's next tick
  double untilTick = 0;  // seconds
  bool driving = false;
};
}  // namespace undercut
