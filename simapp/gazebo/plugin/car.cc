#include "car.hh"

#include <cmath>
#include <stdexcept>

using namespace gazebo;
using ignition::math::Pose3d;
using ignition::math::Vector3d;

namespace undercut
{
namespace
{
// Enough for the joints to follow their targets within a physics step; the tyres' grip is what limits the car.
constexpr double kDriveTorque = 1.0, kSteerTorque = 5.0;

physics::JointPtr Joint(const physics::ModelPtr &model, const std::string &name)
{
  auto joint = model->GetJoint(name);
  if (!joint)
    throw std::runtime_error("model " + model->GetName() + " has no joint " + name);
  return joint;
}
}  // namespace

Vehicle Vehicle::Read(const sdf::ElementPtr &sdf)
{
  auto number = [&](const char *name) {
    if (!sdf->HasElement(name))
      throw std::runtime_error(std::string("the plugin element has no <") + name + ">");
    return sdf->Get<double>(name);
  };
  return {number("wheelbase"),   number("front_track"), number("rear_track"),   number("wheel_radius"),
          number("rest_height"), number("speed_lag"),   number("steering_lag"), number("friction")};
}

Car::Car(const physics::ModelPtr &model, const Vehicle &vehicle) : model(model), vehicle(vehicle)
{
  this->chassis = model->GetLink("base_link");
  if (!this->chassis)
    throw std::runtime_error("model " + model->GetName() + " has no link base_link");
  this->steer = {Joint(model, "left_steering_hinge"), Joint(model, "right_steering_hinge")};
  this->drive = {Joint(model, "left_front_axle"), Joint(model, "right_front_axle"), Joint(model, "left_rear_axle"),
                 Joint(model, "right_rear_axle")};
  for (auto &joint : this->steer)
    joint->SetParam("fmax", 0, kSteerTorque);
  for (auto &joint : this->drive)
    joint->SetParam("fmax", 0, kDriveTorque);
  for (auto &link : model->GetLinks())
  {
    this->restPoses.push_back(link->RelativePose());
    // tyres meet the ground, which does not move, and nothing else: cars drive through each other
    for (auto &collision : link->GetCollisions())
    {
      collision->SetCategoryBits(~GZ_FIXED_COLLIDE);
      collision->SetCollideBits(GZ_FIXED_COLLIDE);
    }
  }
  this->Freeze();
}

void Car::Put(const Place &place)
{
  this->speed = this->steering = 0;
  this->command = {};
  const Pose3d at(place.x, place.y, this->vehicle.restHeight, 0, 0, place.heading);
  auto links = this->model->GetLinks();
  this->model->SetWorldPose(at);
  this->model->ResetPhysicsStates();
  for (size_t i = 0; i < links.size(); ++i)
  {
    links[i]->SetWorldPose(this->restPoses[i] + at);
    links[i]->ResetPhysicsStates();
  }
  for (auto &joint : this->model->GetJoints())
    joint->Reset();
  this->Freeze();
}

void Car::Command(const Drive &drive)
{
  this->command = drive;
}

void Car::Release()
{
  this->driving = true;
  for (auto &link : this->model->GetLinks())
    link->SetEnabled(true);
}

void Car::Freeze()
{
  this->driving = false;
  for (auto &link : this->model->GetLinks())
    link->SetEnabled(false);
}

void Car::Control(double elapsed, double dt)
{
  if (!this->driving)
    return;
  const int now = elapsed < this->command.change_s ? 0 : 1;
  // first-order lags of motor and servo, as in simapp/vehicle/kinematic.py
  this->speed += (this->command.speed[now] - this->speed) * (1 - std::exp(-dt / this->vehicle.speedLag));
  this->steering += (this->command.steering[now] - this->steering) * (1 - std::exp(-dt / this->vehicle.steeringLag));

  // Ackermann: every wheel rolls about one centre on the rear axle's line
  const double curvature = std::tan(this->steering) / this->vehicle.wheelbase;
  for (int side = 0; side < 2; ++side)
  {
    const double sign = side == 0 ? 1 : -1;
    const double left = sign * this->vehicle.frontTrack / 2;
    const double angle = std::atan2(this->vehicle.wheelbase * curvature, 1 - left * curvature);
    // not the joint's own position: ODE counts its turns, and a reset does not reach that count
    const Pose3d hinge = this->steer[side]->GetChild()->WorldPose();
    const double now_at = (this->chassis->WorldPose().Rot().Inverse() * hinge.Rot()).Yaw();
    this->steer[side]->SetParam("vel", 0, (angle - now_at) / dt);
    const double front = this->speed * std::hypot(1 - left * curvature, this->vehicle.wheelbase * curvature);
    const double rear = this->speed * (1 - sign * this->vehicle.rearTrack / 2 * curvature);
    this->drive[side]->SetParam("vel", 0, front / this->vehicle.wheelRadius);
    this->drive[2 + side]->SetParam("vel", 0, rear / this->vehicle.wheelRadius);
  }
}

void Car::SetFriction(double factor)
{
  for (auto &link : this->model->GetLinks())
    for (auto &collision : link->GetCollisions())
      if (auto pyramid = collision->GetSurface()->FrictionPyramid())
      {
        pyramid->SetMuPrimary(factor * this->vehicle.friction);
        pyramid->SetMuSecondary(factor * this->vehicle.friction);
      }
}

State Car::Read() const
{
  const Pose3d pose = this->chassis->WorldPose();
  // of base_link's origin, in its own frame; gazebo's is of the centre of gravity, which may lie elsewhere
  const Vector3d velocity = pose.Rot().RotateVectorReverse(this->chassis->WorldLinearVel(Vector3d::Zero));
  const Vector3d spin = this->chassis->WorldAngularVel();
  return {pose.Pos().X(), pose.Pos().Y(), pose.Pos().Z(), pose.Rot().Roll(), pose.Rot().Pitch(), pose.Rot().Yaw(),
          velocity.X(),   velocity.Y(),   spin.Z(),       this->steering};
}
}  // namespace undercut
