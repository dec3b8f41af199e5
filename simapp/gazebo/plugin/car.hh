// One DeepRacer car of the world: its joints, its commands, and its state.
#pragma once
#include <array>
#include <string>
#include <gazebo/physics/physics.hh>
#include "wire.hh"

namespace undercut
{
// The numbers that the world's <plugin> element passes on from simapp/vehicle and contract/vehicle.py.
struct Vehicle
{
  double wheelbase, frontTrack, rearTrack, wheelRadius, restHeight, speedLag, steeringLag, friction;
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
  gazebo::physics::ModelPtr model;
  gazebo::physics::LinkPtr chassis;
  std::array<gazebo::physics::JointPtr, 2> steer;  // left, right
  std::array<gazebo::physics::JointPtr, 4> drive;  // front left, front right, rear left, rear right
  std::vector<ignition::math::Pose3d> restPoses;  // of the links, in the model's frame
  Vehicle vehicle;
  Drive command{};
  double speed = 0, steering = 0;  // what motor and servo have reached
  bool driving = false;
};
}  // namespace undercut
