#include "car.hh"

#include <algorithm>
#include <cmath>
#include <stdexcept>

using namespace gazebo;
using ignition::math::Pose3d;
using ignition::math::Vector3d;

namespace undercut
{
namespace
{
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
  return {number("wheel_radius"), number("rest_height"), number("friction"),   number("slide"),
          number("front_load"),   number("rear_load"),   number("torque"),        number("speed_lag"),     number("steering_rate"),
          number("steering_kick"), number("controller_rate")};
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
    joint->SetParam("fmax", 0, vehicle.torque);
  for (auto &joint : this->drive)
    joint->SetParam("fmax", 0, vehicle.torque);
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
  for (size_t i = 0; i < this->drive.size(); ++i)
  {
    const auto collision = this->drive[i]->GetChild()->GetCollision("tyre");
    this->tyres[i] = boost::dynamic_pointer_cast<physics::ODESurfaceParams>(collision->GetSurface());
    if (!this->tyres[i])
      throw std::runtime_error("the physics engine is not ODE");
  }
  this->SetFriction(1.0);
  this->Freeze();
}

void Car::Put(const Place &place)
{
  this->rim = this->untilTick = 0;
  this->hinges = {};
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
  this->Grip();
  const int now = elapsed < this->command.change_s ? 0 : 1;
  const double speed = this->command.speed[now], angle = this->command.steering[now];
  // all four wheels at one speed and both hinges at one angle: the real simulator's controllers know no differential
  this->rim += (speed - this->rim) * (this->vehicle.speedLag > 0 ? 1 - std::exp(-dt / this->vehicle.speedLag) : 1);
  for (auto &joint : this->drive)
    joint->SetParam("vel", 0, this->rim / this->vehicle.wheelRadius);
  const bool tick = this->untilTick <= 0;
  if (tick)
  {
    for (int side = 0; side < 2; ++side)
    {
      const double error = angle - this->HingeAngle(side);
      this->hinges[side] = this->vehicle.steeringRate * error;
      if (now == 1 && elapsed - dt < this->command.change_s)
      {
        // the controllers' derivative gain answers to a new command at once
        const double change = this->command.steering[1] - this->command.steering[0];
        this->hinges[side] += std::copysign(std::min(this->vehicle.steeringKick, 2 * std::abs(change)), change) / dt;
      }
    }
  }
  this->untilTick += (tick && this->vehicle.controllerRate > 0 ? 1 / this->vehicle.controllerRate : 0) - dt;
  for (int side = 0; side < 2; ++side)
    this->steer[side]->SetParam("vel", 0, this->hinges[side]);
}

double Car::HingeAngle(int side) const
{
  // not the joint's own position: ODE counts its turns, and a reset does not reach that count
  const Pose3d hinge = this->steer[side]->GetChild()->WorldPose();
  return (this->chassis->WorldPose().Rot().Inverse() * hinge.Rot()).Yaw();
}

void Car::SetFriction(double factor)
{
  this->friction = factor * this->vehicle.friction;
  // twice as much as there is: a tyre's slip is what limits its force (see Grip), to its share of the weight at rest;
  // ODE's own limit would take grip from the axle that a start or braking relieves, and give none to the other
  for (auto &tyre : this->tyres)
  {
    tyre->FrictionPyramid()->SetMuPrimary(2 * this->friction);
    tyre->FrictionPyramid()->SetMuSecondary(2 * this->friction);
  }
}

void Car::Grip()
{
  for (size_t i = 0; i < this->drive.size(); ++i)
  {
    const auto wheel = this->drive[i]->GetChild();
    const Vector3d axle = wheel->WorldPose().Rot().RotateVector(Vector3d::UnitZ);
    const Vector3d down(0, 0, -this->vehicle.wheelRadius);
    const Vector3d sliding = wheel->WorldCoGLinearVel() + wheel->WorldAngularVel().Cross(down);
    const double across = sliding.Dot(axle), along = sliding.Dot(axle.Cross(Vector3d::UnitZ));
    const double most = this->friction * (i < 2 ? this->vehicle.frontLoad : this->vehicle.rearLoad);
    // ODE's tyre slides by slip x force: with this slip the force is the description's
    this->tyres[i]->slip1 = std::hypot(across, this->vehicle.slide) / most;
    this->tyres[i]->slip2 = std::hypot(along, this->vehicle.slide) / most;
  }
}

State Car::Read() const
{
  const Pose3d pose = this->chassis->WorldPose();
  // of base_link's origin, in its own frame; gazebo's is of the centre of gravity, which may lie elsewhere
  const Vector3d velocity = pose.Rot().RotateVectorReverse(this->chassis->WorldLinearVel(Vector3d::Zero));
  const Vector3d spin = this->chassis->WorldAngularVel();
  return {pose.Pos().X(), pose.Pos().Y(), pose.Pos().Z(), pose.Rot().Roll(), pose.Rot().Pitch(), pose.Rot().Yaw(),
          velocity.X(),   velocity.Y(),   spin.Z(),       (this->HingeAngle(0) + this->HingeAngle(1)) / 2};
}
}  // namespace undercut
