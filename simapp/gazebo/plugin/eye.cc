#include "eye.hh"

#include <algorithm>
#include <chrono>
#include <gazebo/common/MeshManager.hh>

using namespace gazebo;
using std::chrono::duration;

namespace undercut
{
namespace
{
constexpr double kParked = -1000;  // metres below ground: where bodies wait that no frame shows
constexpr double kGrey[] = {0.2989, 0.587, 0.114};  // the contract's
constexpr int kSettledFrames = 3;  // materials are there a few frames after their visuals
}  // namespace

Eye::Eye(const std::string &sensor, const std::string &meshes, int bodies)
    : sensorName(sensor), meshes(meshes), bodyCount(bodies)
{
}

bool Eye::Prepare()
{
  if (!this->camera)
  {
    this->sensor = std::dynamic_pointer_cast<sensors::CameraSensor>(sensors::get_sensor(this->sensorName));
    this->missing = "camera sensor " + this->sensorName + " (is there an X server, and OpenGL on it?)";
    if (!this->sensor || !this->sensor->Camera())
      return false;
    this->sensor->SetActive(false);  // its own clock must not hold the physics
    this->camera = this->sensor->Camera();
  }
  auto scene = this->camera->GetScene();
  this->missing = "the visuals of the world";
  if (!scene || !scene->Initialized() || !scene->GetVisual("ground::link::visual"))
    return false;
  for (int i = 0; i < this->bodyCount; ++i)
  {
    auto body = scene->GetVisual("car_" + std::to_string(i) + "::base_link::body");
    if (!body)
      return false;
    body->SetVisible(false);
  }
  return ++this->settled > kSettledFrames;
}

void Eye::Serve()
{
  std::unique_lock<std::mutex> lock(this->mutex);
  if (!this->ready)
  {
    this->ready = this->Prepare();
    this->changed.notify_all();
    return;
  }
  // stay here while shots come, so that none waits for gazebo's next render event
  while (this->changed.wait_for(lock, duration<double>(0.2), [this] { return this->wanted != nullptr; }))
  {
    for (auto &shot : *this->wanted)
    {
      this->Arrange(shot.things);
      this->camera->SetHFOV(ignition::math::Angle(shot.hfov));
      this->camera->SetWorldPose(shot.lens);
      this->camera->Render(true);
      this->camera->PostRender();
      this->Develop(shot);
    }
    this->wanted = nullptr;
    this->changed.notify_all();
  }
}

void Eye::Develop(Shot &shot) const
{
  const unsigned char *data = this->camera->ImageData();
  const size_t width = this->camera->ImageWidth(), height = this->camera->ImageHeight(), n = shot.reduce;
  if (n == 0)
  {
    shot.frame.assign(data, data + width * height * 3);
    return;
  }
  const size_t columns = width / n, rows = height / n;
  const double scale = shot.light / (n * n);
  std::vector<uint32_t> sums(columns * 3);
  shot.frame.resize(columns * rows);
  for (size_t row = 0; row < rows; ++row)
  {
    std::fill(sums.begin(), sums.end(), 0);
    for (size_t y = row * n; y < (row + 1) * n; ++y)
      for (size_t x = 0; x < columns * n; ++x)
        for (size_t channel = 0; channel < 3; ++channel)
          sums[x / n * 3 + channel] += data[(y * width + x) * 3 + channel];
    for (size_t x = 0; x < columns; ++x)
    {
      const double grey = kGrey[0] * sums[x * 3] + kGrey[1] * sums[x * 3 + 1] + kGrey[2] * sums[x * 3 + 2];
      shot.frame[row * columns + x] = static_cast<unsigned char>(std::min(grey * scale + 0.5, 255.0));
    }
  }
}

void Eye::Arrange(const std::vector<Thing> &things)
{
  std::map<uint32_t, size_t> used;
  for (const auto &thing : things)
    this->Body(thing.look, used[thing.look]++)
        ->SetWorldPose(ignition::math::Pose3d(thing.x, thing.y, 0, 0, 0, thing.heading));
  for (auto &[look, visuals] : this->bodies)
    for (size_t i = used[look]; i < visuals.size(); ++i)
      visuals[i]->SetWorldPose(ignition::math::Pose3d(0, 0, kParked, 0, 0, 0));
}

rendering::VisualPtr Eye::Body(uint32_t look, size_t number)
{
  auto &visuals = this->bodies[look];
  while (visuals.size() <= number)
  {
    const std::string mesh = this->meshes + "/look_" + std::to_string(look) + ".obj";
    const std::string name = "thing_" + std::to_string(look) + "_" + std::to_string(visuals.size());
    auto scene = this->camera->GetScene();
    rendering::VisualPtr visual(new rendering::Visual(name, scene->WorldVisual()));
    visual->Load();
    rendering::Visual::InsertMesh(common::MeshManager::Instance()->Load(mesh));
    visual->AttachMesh(mesh);
    visual->SetMaterial("undercut/bodies", false);
    visual->SetCastShadows(false);
    visuals.push_back(visual);
  }
  return visuals[number];
}

bool Eye::WaitReady(double seconds)
{
  std::unique_lock<std::mutex> lock(this->mutex);
  return this->changed.wait_for(lock, duration<double>(seconds), [this] { return this->ready; });
}

bool Eye::Take(std::vector<Shot> &shots, double seconds)
{
  std::unique_lock<std::mutex> lock(this->mutex);
  this->wanted = &shots;
  this->changed.notify_all();
  const bool done = this->changed.wait_for(lock, duration<double>(seconds), [this] { return this->wanted == nullptr; });
  this->wanted = nullptr;
  return done;
}

std::string Eye::Missing() const
{
  std::lock_guard<std::mutex> lock(this->mutex);
  return this->missing;
}
}  // namespace undercut
