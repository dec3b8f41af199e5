// The camera of the world: one lens that takes each car's frame in turn, on gazebo's render thread.
#pragma once
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <vector>
#include <gazebo/rendering/rendering.hh>
#include <gazebo/sensors/sensors.hh>
#include "wire.hh"

namespace undercut
{
struct Shot
{
  ignition::math::Pose3d lens;  // in the world
  double hfov, light;
  uint32_t reduce;
  std::vector<Thing> things;
  std::vector<unsigned char> frame;  // filled, see wire.hh
};

class Eye
{
public:
  /// `sensor` is the world's one camera sensor, `meshes` the folder with look_<i>.obj. The first `bodies` cars have
  /// visuals for a window, which the camera must not see.
  Eye(const std::string &sensor, const std::string &meshes, int bodies);

  /// On the render thread, at each of gazebo's render events: serve shots for a while.
  void Serve();

  /// On the physics thread: wait until the scene holds `visuals`; false after `seconds`.
  bool WaitReady(double seconds);

  /// On the physics thread: have the shots taken; false when nobody took them for `seconds`.
  bool Take(std::vector<Shot> &shots, double seconds);

  /// What `WaitReady` was still waiting for.
  std::string Missing() const;

private:
  bool Prepare();
  void Arrange(const std::vector<Thing> &things);
  void Develop(Shot &shot) const;
  gazebo::rendering::VisualPtr Body(uint32_t look, size_t number);

  const std::string sensorName, meshes;
  const int bodyCount;
  gazebo::sensors::CameraSensorPtr sensor;
  gazebo::rendering::CameraPtr camera;
  std::map<uint32_t, std::vector<gazebo::rendering::VisualPtr>> bodies;
  int settled = 0;

  mutable std::mutex mutex;
  std::condition_variable changed;
  bool ready = false;
  std::string missing = "the first render event";
  std::vector<Shot> *wanted = nullptr;
};
}  // namespace undercut
