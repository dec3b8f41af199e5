// Gazebo in lock step: physics and rendering happen only when asked over a unix socket, so that a control step is
// exactly as many physics steps, whatever the machine's load.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <gazebo/gazebo.hh>
#include <gazebo/physics/physics.hh>

#include "car.hh"
#include "eye.hh"
#include "wire.hh"

using namespace gazebo;

namespace undercut
{
namespace
{
constexpr int kReadyTimeout = 60, kFrameTimeout = 60;  // seconds
constexpr uint32_t kMostItems = 100000;

[[noreturn]] void Die(const std::string &why)
{
  std::fprintf(stderr, "undercut: %s\n", why.c_str());
  std::fflush(stderr);
  std::_Exit(70);  // gazebo's own exit may wait for threads that wait for us
}

class Socket
{
public:
  explicit Socket(const std::string &path) : path(path)
  {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
      Die("socket path " + path + " is longer than a unix socket's may be");
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    const int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(path.c_str());
    if (bind(listening, reinterpret_cast<sockaddr *>(&address), sizeof address) || listen(listening, 1))
      Die("cannot listen on " + path + ": " + std::strerror(errno));
    do
      this->fd = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
    while (this->fd < 0 && errno == EINTR);
    close(listening);
    if (this->fd < 0)
      Die("nobody came to " + path + ": " + std::strerror(errno));
  }

  /// False when the other side has closed the connection.
  bool Read(void *to, size_t size)
  {
    auto *at = static_cast<char *>(to);
    while (size)
    {
      const ssize_t got = read(this->fd, at, size);
      if (got < 0 && errno == EINTR)
        continue;
      if (got <= 0)
        return false;
      at += got;
      size -= got;
    }
    return true;
  }

  void Write(const void *from, size_t size)
  {
    const auto *at = static_cast<const char *>(from);
    while (size)
    {
      const ssize_t sent = send(this->fd, at, size, MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR)
        continue;
      if (sent <= 0)
        std::_Exit(0);  // undercut has gone; so do we
      at += sent;
      size -= sent;
    }
  }

private:
  std::string path;
  int fd = -1;
};
}  // namespace

class Lockstep : public WorldPlugin
{
public:
  void Load(physics::WorldPtr world, sdf::ElementPtr sdf) override
  {
    try
    {
      this->world = world;
      this->socketPath = sdf->Get<std::string>("socket");
      this->substeps = sdf->Get<int>("substeps");
      for (auto each = sdf->HasElement("car") ? sdf->GetElement("car") : nullptr; each; each = each->GetNextElement("car"))
      {
        const std::string name = "car_" + std::to_string(this->cars.size());
        auto model = world->ModelByName(name);
        if (!model)
          Die("the world has no model " + name);
        this->cars.emplace_back(model, Vehicle::Read(each));
      }
      this->eye = std::make_unique<Eye>(sdf->Get<std::string>("sensor"), sdf->Get<std::string>("meshes"),
                                        sdf->Get<int>("bodies"));
    }
    catch (const std::exception &error)
    {
      Die(error.what());
    }
    // the solver must not begin from its last answer, else what a car does depends on what it did before it was placed
    world->Physics()->SetParam("warm_start_factor", 0.0);
    world->SetPhysicsEnabled(false);  // until somebody asks for the first step
    this->begin = event::Events::ConnectWorldUpdateBegin([this](const common::UpdateInfo &) { this->Before(); });
    this->end = event::Events::ConnectWorldUpdateEnd([this] { this->After(); });
    this->render = event::Events::ConnectRender([this] { this->eye->Serve(); });
  }

private:
  void Before()
  {
    if (this->remaining <= 0)
      return;
    const double dt = this->world->Physics()->GetMaxStepSize();
    const double elapsed = (this->substeps - this->remaining) * dt;
    for (auto &car : this->cars)
      car.Control(elapsed, dt);
  }

  void After()
  {
    if (!this->socket)
    {
      // a little at a time: the scene asks the world for its models meanwhile
      if (!this->eye->WaitReady(0.002))
      {
        if (std::chrono::steady_clock::now() - this->started > std::chrono::seconds(kReadyTimeout))
          Die("after " + std::to_string(kReadyTimeout) + " s still no " + this->eye->Missing());
        return;
      }
      this->socket = std::make_unique<Socket>(this->socketPath);
      this->world->SetPhysicsEnabled(true);
    }
    else if (this->remaining > 0)
    {
      ++this->total;
      if (--this->remaining > 0)
        return;
      for (auto &car : this->cars)
        car.Freeze();
      this->SendStates();
    }
    while (this->Handle())
      ;
  }

  /// One request; false when physics has to run for it.
  bool Handle()
  {
    Header header;
    if (!this->socket->Read(&header, sizeof header))
      std::_Exit(0);
    if (header.magic != kMagic || header.count > kMostItems)
      Die("the other side speaks another version: rebuild the plugin (make gazebo)");
    switch (static_cast<Op>(header.op))
    {
      case Op::place:
        for (const auto &place : this->Items<Place>(header.count))
          this->At(place.car).Put(place);
        this->SendStates();
        return true;
      case Op::vary:
        for (const auto &grip : this->Items<Grip>(header.count))
          this->At(grip.car).SetFriction(grip.friction);
        this->SendStates();
        return true;
      case Op::step:
        for (const auto &drive : this->Items<Drive>(header.count))
        {
          auto &car = this->At(drive.car);
          car.Command(drive);
          car.Release();
        }
        // what is random in the solver must depend on nothing but the state
        this->world->Physics()->SetSeed(1);
        this->remaining = this->substeps;
        return false;
      case Op::look:
        this->TakeFrames(header.count);
        return true;
      case Op::quit:
        std::_Exit(0);
    }
    Die("unknown request " + std::to_string(header.op));
  }

  template <typename Item>
  std::vector<Item> Items(uint32_t count)
  {
    std::vector<Item> items(count);
    if (!this->socket->Read(items.data(), count * sizeof(Item)))
      std::_Exit(0);
    return items;
  }

  Car &At(uint32_t car)
  {
    if (car >= this->cars.size())
      Die("there is no car " + std::to_string(car));
    return this->cars[car];
  }

  void TakeFrames(uint32_t count)
  {
    std::vector<Shot> shots(count);
    for (auto &shot : shots)
    {
      const auto look = this->Items<Look>(1).front();
      if (look.things > kMostItems)
        Die("too many things in a frame");
      // gazebo's cameras look along x, z up, and a positive pitch is down
      const ignition::math::Pose3d lens(look.ahead, look.left, look.up, 0, look.pitch, look.yaw);
      shot.lens = lens + this->At(look.car).Pose();
      shot.hfov = look.hfov;
      shot.light = look.light;
      shot.reduce = look.reduce;
      shot.things = this->Items<Thing>(look.things);
    }
    if (!this->eye->Take(shots, kFrameTimeout))
      Die("no frame within " + std::to_string(kFrameTimeout) + " s: the render thread hangs");
    this->SendReply(count);
    for (const auto &shot : shots)
      this->socket->Write(shot.frame.data(), shot.frame.size());
  }

  void SendStates()
  {
    std::vector<State> states;
    for (const auto &car : this->cars)
      states.push_back(car.Read());
    this->SendReply(states.size());
    this->socket->Write(states.data(), states.size() * sizeof(State));
  }

  void SendReply(uint32_t count)
  {
    const Reply reply{kMagic, count, this->total};
    this->socket->Write(&reply, sizeof reply);
  }

  physics::WorldPtr world;
  std::string socketPath;
  int substeps = 0, remaining = 0;
  uint64_t total = 0;
  std::vector<Car> cars;
  std::unique_ptr<Eye> eye;
  std::unique_ptr<Socket> socket;
  const std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  event::ConnectionPtr begin, end, render;
};

GZ_REGISTER_WORLD_PLUGIN(Lockstep)
}  // namespace undercut
